"""The mean of parameters over the end of training."""

import torch

from core.radiance.averaging import ParameterMean


def test_the_mean_is_that_of_every_moment_taken_in():
    mean, values = ParameterMean(), torch.zeros(3)
    for moment in (1.0, 2.0, 6.0):
        values.fill_(moment)
        mean.add({"values": values})
    with mean.shown_in({"values": values}):
        torch.testing.assert_close(values, torch.full((3,), 3.0))


def test_what_learns_is_untouched_once_the_mean_was_shown():
    mean, weight = ParameterMean(), torch.nn.Parameter(torch.ones(2))
    mean.add({"weight": weight})
    weight.data.fill_(5.0)
    with mean.shown_in({"weight": weight}):
        assert weight.tolist() == [1.0, 1.0]
    assert weight.tolist() == [5.0, 5.0]


def test_without_a_moment_nothing_is_changed():
    values = torch.arange(3.0)
    with ParameterMean().shown_in({"values": values}):
        assert values.tolist() == [0.0, 1.0, 2.0]


def test_another_number_of_rows_starts_a_new_mean():
    mean = ParameterMean()
    mean.add({"values": torch.zeros(4)})
    mean.add({"values": torch.ones(5)})
    assert mean.count == 1
    assert mean.means["values"].tolist() == [1.0] * 5


def test_a_saved_mean_goes_on_as_if_nothing_had_happened():
    whole, first, second = ParameterMean(), ParameterMean(), ParameterMean()
    moments = [{"values": torch.full((2,), float(k) ** 2)} for k in range(6)]
    for moment in moments:
        whole.add(moment)
    for moment in moments[:3]:
        first.add(moment)
    second.load(first.state())
    for moment in moments[3:]:
        second.add(moment)
    assert torch.equal(second.means["values"], whole.means["values"])
