"""What people touch: the command line, the desktop window and the web page. Knows core; core never knows it."""
