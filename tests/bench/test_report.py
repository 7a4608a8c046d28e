"""How figures are told: ratios within a round, and aims that hold or are missed."""

from bench.report import Aim, Key, Ratio, Report

FAST, SLOW = (Key("requests", way, "cpu", "µs each") for way in ("fast", "slow"))


def report(fast: list[float], slow: list[float]) -> Report:
    made = Report()
    for key, values in ((FAST, fast), (SLOW, slow)):
        for value in values:
            made.add(key, value)
    return made


def test_a_ratio_is_taken_within_each_round() -> None:
    # Twice as busy a machine in the second round doubles both, and says nothing of the ratio.
    measured = report([10, 20, 12], [40, 80, 40])
    assert measured.ratio(Ratio("fast / slow", FAST, SLOW)) == [0.25, 0.25, 0.3]


def test_the_median_says_whether_an_aim_holds() -> None:
    measured = report([10, 20, 12], [40, 80, 40])
    measured.ratios = [
        Ratio("holds", FAST, SLOW, 0.25),
        Ratio("misses", FAST, SLOW, 0.2),
        Ratio("turned", FAST, SLOW, 0.2, at_least=True),
    ]
    measured.aims = [Aim("small", FAST, 12), Aim("too small", FAST, 11)]
    told = measured.to_json()
    ratios, aims = told["ratios"], told["aims"]
    assert isinstance(ratios, list)
    assert isinstance(aims, list)
    assert [row["holds"] for row in ratios] == [True, False, True]
    assert [row["holds"] for row in aims] == [True, False]


def test_what_was_not_measured_is_in_no_table_but_said() -> None:
    measured = Report(ratios=[Ratio("fast / slow", FAST, SLOW, 1)], aims=[Aim("fast", FAST, 1)])
    measured.skip("slow", "it is not installed")
    assert measured.to_json()["ratios"] == []
    assert "Not measured: slow: it is not installed." in measured.to_markdown()


def test_ratios_come_first_and_a_missed_aim_is_plain_to_see() -> None:
    measured = report([10], [40])
    measured.ratios = [Ratio("fast / slow", FAST, SLOW, 0.2)]
    heads, _, first, *_ = measured.to_markdown().splitlines()
    assert heads.startswith("| ratio ")
    assert [cell.strip() for cell in first.split("|")][1:-1] == [
        *("fast / slow", "0.25", "0.25", "0.25", "1", "<= 0.2", "MISSED"),
    ]
