"""Who may log in when: first logins as they come, whatever else one in each second, in turn."""

from vault.hashicorp.pace import ASKING_S, FAILURES, TURN_S, Pace


def test_first_logins_are_made_as_they_come() -> None:
    pace = Pace(6.0)
    assert all(pace.admits(number, 100.0, again=False) for number in range(1000))


def test_of_a_hundred_that_log_in_again_and_again_one_does_in_each_second_and_each_has_its_turn() -> None:
    pace, admitted = Pace(6.0), list[int]()
    for tick in range(1000):  # a tenth of a second each
        admitted += [who for who in range(100) if pace.admits(who, tick / 10, again=True)]
    assert sorted(admitted) == list(range(100))


def test_one_that_never_stops_asking_keeps_nobody_from_the_next_turn_and_no_first_login_at_all() -> None:
    pace = Pace(6.0)
    assert pace.admits("noisy", 0.0, again=True)
    assert not any(pace.admits("noisy", at / 100, again=True) for at in range(1, 50))
    assert not pace.admits("quiet", 0.5, again=True)
    assert pace.admits("new", 0.5, again=False)
    assert pace.admits("noisy", TURN_S, again=True), "it asked first"
    assert not pace.admits("noisy", 2 * TURN_S, again=True), "and now it is the other's turn"
    assert pace.admits("quiet", 2 * TURN_S, again=True)


def test_one_that_asks_no_more_holds_nobody_up_for_long() -> None:
    pace = Pace(6.0)
    assert pace.admits("first", 0.0, again=True)
    assert not pace.admits("gone", 0.1, again=True)
    assert not pace.admits("here", TURN_S, again=True)
    assert pace.admits("here", 0.1 + ASKING_S, again=True)


def test_a_silent_server_is_asked_by_one_at_a_time_and_its_first_word_lets_everybody_in() -> None:
    pace, probe_s = Pace(6.0), 6.0
    for _ in range(FAILURES):
        assert pace.admits("any", 0.0, again=False)
        pace.ended(0.0, answered=False)
    assert pace.admits("one", TURN_S, again=False)
    assert not pace.admits("other", TURN_S + probe_s / 2, again=False), "one is under way"
    pace.ended(4.0, answered=False)
    assert not pace.admits("other", 4.0, again=False)
    assert pace.admits("other", 4.0 + TURN_S, again=False)
    pace.ended(5.5, answered=True)
    assert all(pace.admits(number, 5.5, again=False) for number in range(100))


def test_a_probe_that_was_given_up_makes_room_for_the_next() -> None:
    pace = Pace(6.0)
    for _ in range(FAILURES):
        pace.ended(0.0, answered=False)
    assert pace.admits("one", 10.0, again=False)
    pace.ended(10.5, answered=None)
    assert pace.admits("other", 10.5 + TURN_S, again=False)
