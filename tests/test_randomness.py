from medunlearn.randomness import stream


def test_same_name_gives_the_same_numbers():
    assert stream("init", 3).integers(2**60) == stream("init", 3).integers(2**60)


def test_names_and_seeds_give_other_numbers():
    drawn = {stream(*n).integers(2**60) for n in [("a", 0), ("a", 1), ("b", 0), ("a",), ("a", 10)]}
    assert len(drawn) == 5
