"""Compiled loops of the scene file's entropy coder: an adaptive binary range coder and what it predicts from.

    numbers  [8]        uint64  the coder: is it decoding, low, range, cache, pending, place, code, overflow
    content  [B]        uint8   bytes written or read
    chances  [K, 2]     uint16  probability of a zero per context, one that learns fast and one that learns slowly
    counts   [K]        uint16  what each context has seen, up to the slower limit
    codes    [N, C]     int32   what is coded: read when encoding, written when decoding

Every loop runs in both directions, so that reading can never model other than writing did. Only
whole numbers are used: every machine decodes the same. The coder is that of LZMA (Martin 1979 with
carries as Pavlov does them); a probability is the mean of two that learn at different rates.
Nothing is read or written outside the arrays, whatever the bytes say.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel

DECODING, LOW, RANGE, CACHE, PENDING, PLACE, CODE, OVERFLOW = range(8)
ONE = np.uint64(1)
_TOP, _BYTE = np.uint64(1 << 24), np.uint64(8)
_ALL_32, _ALL_8 = np.uint64(0xFFFFFFFF), np.uint64(0xFF)
_CHANCE_BITS = np.uint64(16)
FAST, SLOW = 20, 250  # how many outcomes the two probabilities remember
UNARY = 12  # magnitudes below this are coded one by one, larger ones by their number of bits
MAGNITUDES = (
    48  # contexts of one magnitude: UNARY flags, then a number of bits and their first bits
)
GROUPS = 10  # of contexts of a column, by how far neighbours were from what was expected
TABLE_GROUPS = 14
NEIGHBOURS = 8  # of the known rows nearest along the curve
WINDOW = 8  # columns before a column that it is expected from
LARGEST = 1 << 30  # codes lie between its negative and it
POSITION_CONTEXTS = 64 * 64 + 64 * 8


@kernel
def _shift_out(numbers, content):
    """Write the highest byte of low, and those a carry could still have changed."""
    low = numbers[LOW]
    if low < np.uint64(0xFF000000) or low > _ALL_32:
        carry = low >> np.uint64(32)
        byte = (numbers[CACHE] + carry) & _ALL_8
        while True:
            if numbers[PLACE] >= content.shape[0]:
                numbers[OVERFLOW] = ONE
                break
            content[numbers[PLACE]] = byte
            numbers[PLACE] += ONE
            byte = (_ALL_8 + carry) & _ALL_8
            numbers[PENDING] -= ONE
            if numbers[PENDING] == np.uint64(0):
                break
        numbers[PENDING] = np.uint64(0)
        numbers[CACHE] = (low >> np.uint64(24)) & _ALL_8
    numbers[PENDING] += ONE
    numbers[LOW] = (low << _BYTE) & _ALL_32


@kernel
def _split(numbers, content, bound, bit):
    """Code one bit whose zero takes the first `bound` of the range; return it."""
    if numbers[DECODING] != np.uint64(0):
        bit = 1 if numbers[CODE] >= bound else 0
    if bit:
        if numbers[DECODING] != np.uint64(0):
            numbers[CODE] -= bound
        else:
            numbers[LOW] += bound
        numbers[RANGE] -= bound
    else:
        numbers[RANGE] = bound
    while numbers[RANGE] < _TOP:
        numbers[RANGE] <<= _BYTE
        if numbers[DECODING] != np.uint64(0):
            numbers[CODE] = (numbers[CODE] << _BYTE) & _ALL_32
            if numbers[PLACE] < content.shape[0]:
                numbers[CODE] |= np.uint64(content[numbers[PLACE]])
            numbers[PLACE] += ONE
        else:
            _shift_out(numbers, content)
    return bit


@kernel
def _bit(numbers, content, chances, counts, context, bit):
    """Code one bit in a context and let the context learn from it; return it."""
    fast, slow = np.int64(chances[context, 0]), np.int64(chances[context, 1])
    chance = (fast + slow) >> 1
    chance = min(max(chance, 32), 65536 - 32)
    bound = (numbers[RANGE] >> _CHANCE_BITS) * np.uint64(chance)
    bit = _split(numbers, content, bound, bit)
    target = 0 if bit else 65535
    seen = np.int64(counts[context])
    chances[context, 0] = fast + (target - fast) * 2 // (2 * min(seen, FAST) + 3)
    chances[context, 1] = slow + (target - slow) * 2 // (2 * min(seen, SLOW) + 3)
    counts[context] = min(seen + 1, SLOW)
    return bit


@kernel
def _plain_bits(numbers, content, width, value):
    """Code `width` bits that are as often one as zero, highest first; return them as a number."""
    found = np.int64(0)
    for place in range(width - 1, -1, -1):
        bit = _split(numbers, content, numbers[RANGE] >> ONE, (value >> place) & 1)
        found = found << 1 | bit
    return found


@kernel
def _magnitude(numbers, content, chances, counts, first, value):
    """Code a number from 0 to 2^32 - 1 in the contexts from `first` on; return it."""
    for known in range(UNARY):
        if not _bit(numbers, content, chances, counts, first + known, 1 if value > known else 0):
            return known
    rest = value - UNARY + 1  # 1 or more: its number of bits, then the bits below the highest
    width = 0
    while width < 31 and _bit(
        numbers,
        content,
        chances,
        counts,
        first + UNARY + min(width, 30),
        1 if rest >> (width + 1) else 0,
    ):
        width += 1
    return UNARY - 1 + (1 << width) + _plain_bits(numbers, content, width, rest - (1 << width))


@kernel
def _signed(numbers, content, chances, counts, first, value):
    """Code a signed number: magnitude, then a sign in the context after it; return it."""
    size = _magnitude(numbers, content, chances, counts, first, abs(value))
    if size == 0:
        return np.int64(0)
    is_negative = _bit(
        numbers, content, chances, counts, first + MAGNITUDES - 1, 1 if value < 0 else 0
    )
    return -size if is_negative else size


@kernel
def _bits_of(value):
    """Return how many bits a number of 0 or more has."""
    width = 0
    while value > 0:
        value >>= 1
        width += 1
    return width


@kernel
def code_gaps(numbers, content, chances, counts, gaps):
    """Code the gaps [N] uint64 between ascending numbers: width after width, the two highest bits, the rest."""
    last, before = 0, 0
    for row in range(gaps.shape[0]):
        gap = gaps[row]
        width = 0
        while width < 64 and gap >> np.uint64(width) != np.uint64(0):
            width += 1
        # the number of bits as a tree of six binary choices, in the context of the last two
        node = 1
        group = min((2 * last + before) // 3, 63)
        for place in range(5, -1, -1):
            bit = _bit(numbers, content, chances, counts, group * 64 + node, (width >> place) & 1)
            node = node << 1 | bit
        width = node - 64
        found = np.uint64(0)
        if width > 0:
            found = ONE
            node = 1
            for place in range(width - 2, -1, -1):
                value = np.int64((gap >> np.uint64(place)) & ONE)
                if node < 8:
                    bit = _bit(
                        numbers, content, chances, counts, 4096 + min(width, 63) * 8 + node, value
                    )
                    node = node << 1 | bit
                else:
                    bit = _split(numbers, content, numbers[RANGE] >> ONE, value)
                found = found << ONE | np.uint64(bit)
        gaps[row] = found
        last, before = width, last


@kernel
def code_table(numbers, content, chances, counts, codes, level):
    """Code the rows [T, F] of one level of a hash table in the contexts of what stands before.

    An entry depends on how large the other features of its row and of the row before are.
    """
    rows, features = codes.shape
    for row in range(rows):
        around = 0
        for feature in range(features):
            size = around * 2
            if row > 0:
                size += abs(codes[row - 1, feature])
            group = min(_bits_of(size), 6) + (7 if feature > 0 else 0)
            first = (level * TABLE_GROUPS + group) * MAGNITUDES
            found = _signed(numbers, content, chances, counts, first, codes[row, feature])
            found = min(max(found, -LARGEST), LARGEST)
            codes[row, feature] = found
            around += abs(found)


@kernel
def code_plain(numbers, content, chances, counts, codes):
    """Code numbers [N] without looking at their neighbours."""
    for row in range(codes.shape[0]):
        found = _signed(numbers, content, chances, counts, 0, codes[row])
        codes[row] = min(max(found, -LARGEST), LARGEST)


@kernel
def _weigh(places, row, half, weights):
    """Set weights [NEIGHBOURS] of the known rows round a row by their distance; they add up to about 4096."""
    nearest, total = np.int64(1) << 60, np.int64(0)
    for index in range(NEIGHBOURS):
        other = row + (2 * (index // 2) + 1) * (half if index % 2 else -half)
        weights[index] = 0
        if 0 <= other < places.shape[0]:
            distance = np.int64(1)
            for axis in range(3):
                gap = min(abs(places[other, axis] - places[row, axis]), 1 << 20)
                distance += gap * gap
            weights[index] = distance
            nearest = min(nearest, distance)
    for index in range(NEIGHBOURS):
        if weights[index] > 0:
            weights[index] = (nearest << 12) // weights[index] + 1
            total += weights[index]
    for index in range(NEIGHBOURS):
        weights[index] = weights[index] * 4096 // max(total, 1)


@kernel
def _expected(codes, row, half, weights, column):
    """Return 4096 times the weighed mean of a column over the known rows round a row."""
    total = np.int64(0)
    for index in range(NEIGHBOURS):
        if weights[index] > 0:
            other = row + (2 * (index // 2) + 1) * (half if index % 2 else -half)
            total += weights[index] * codes[other, column]
    return total


@kernel
def expectations(places, codes, order, halves, found):
    """Set found [N, C] to 4096 times what the neighbours make expect, for the encoder's fit."""
    weights = np.zeros(NEIGHBOURS, np.int64)
    for index in range(order.shape[0]):
        row, half = order[index], halves[index]
        _weigh(places, row, half, weights)
        for column in range(codes.shape[1]):
            found[row, column] = _expected(codes, row, half, weights, column)


@kernel
def code_columns(numbers, content, chances, counts, places, codes, order, halves, known, fits):
    """Code the columns of codes [N, C] from `known` on, rows in `order`, from coarse to fine along the curve.

    A number is expected to be what its neighbours say plus shares of how far the columns before it
    were from what theirs say; fits [C - known, WINDOW + 2] holds the shares of the columns before,
    of the neighbours (4096 is one) and a constant (in 4096ths).
    """
    columns = codes.shape[1]
    begin = max(known - WINDOW, 0)
    weights = np.zeros(NEIGHBOURS, np.int64)
    surprises = np.zeros(columns, np.int64)
    missed = np.zeros(codes.shape, np.int32)
    for index in range(order.shape[0]):
        row, half = order[index], halves[index]
        _weigh(places, row, half, weights)
        for column in range(begin, columns):
            expected = _expected(codes, row, half, weights, column)
            if column >= known:
                fit = fits[column - known]
                guess = fit[WINDOW] * expected + fit[WINDOW + 1] * 4096
                for back in range(min(column, WINDOW)):
                    guess += fit[back] * surprises[column - 1 - back]
                guess = (guess + (1 << 23)) >> 24
                guess = min(max(guess, -LARGEST), LARGEST)
                around = _expected(missed, row, half, weights, column) >> 10
                first = ((column - known) * GROUPS + min(_bits_of(around), GROUPS - 1)) * MAGNITUDES
                rest = _signed(numbers, content, chances, counts, first, codes[row, column] - guess)
                codes[row, column] = min(max(guess + rest, -LARGEST), LARGEST)
                missed[row, column] = min(abs(rest), LARGEST)
            surprises[column] = 4096 * np.int64(codes[row, column]) - expected


def started(content: np.ndarray, is_decoding: bool) -> np.ndarray:
    """Return a coder at the beginning of its bytes."""
    numbers = np.zeros(8, np.uint64)
    numbers[RANGE] = _ALL_32
    numbers[PENDING] = 1
    if is_decoding:
        numbers[DECODING] = 1
        head = content[1:5].tolist() + [0] * 5
        numbers[CODE] = int.from_bytes(bytes(head[:4]), "big")
        numbers[PLACE] = 5
    return numbers


@kernel
def finish(numbers, content):
    """Write what the encoder still holds back."""
    for _ in range(5):
        _shift_out(numbers, content)


def warm_up() -> Iterator[str]:
    """Compile every loop on tiny input, and yield its name."""
    content, numbers = np.zeros(64, np.uint8), started(np.zeros(8, np.uint8), False)
    chances, counts = np.full((POSITION_CONTEXTS, 2), 32768, np.uint16), np.zeros(6000, np.uint16)
    coder = numbers, content, chances, counts
    code_gaps(*coder, np.ones(2, np.uint64))
    yield "gaps between positions"
    code_table(*coder, np.zeros((2, 2), np.int32), 0)
    code_plain(*coder, np.zeros(2, np.int32))
    yield "tables"
    places, codes, order = np.zeros((2, 3), np.int64), np.zeros((2, 1), np.int32), np.arange(2)
    expectations(places, codes, order, order + 1, np.zeros((2, 1), np.int64))
    fits = np.zeros((1, WINDOW + 2), np.int64)
    code_columns(*coder, places, codes, order, order + 1, 0, fits)
    finish(numbers, content)
    yield "columns"
