"""The values in a user's file: quantity of the spectra, unit of SOC, single cells."""

import numpy as np
import pytest
from readers_helpers import BANDS, assert_refused, put

from soilnb.datasets import inspect_file, read_file


def scale_soc(factor):
    def change(frame):
        frame["soc"] *= factor

    return change


# Quantity


def percent(frame):
    frame[BANDS] *= 100


def to_absorbance(frame):
    frame[BANDS] = -np.log10(frame[BANDS])


def brighten(frame):
    frame[BANDS] = 0.2 + 0.5 * frame[BANDS]


@pytest.mark.parametrize(
    ("change", "quantity"),
    [(None, "reflectance"), (percent, "percent"), (to_absorbance, "absorbance")],
)
@pytest.mark.parametrize("told", [True, False])
def test_every_quantity_becomes_reflectance(write_csv, change, quantity, told):
    library = read_file(write_csv(change), quantity=quantity if told else "")
    good = read_file(write_csv())
    assert np.allclose(library.reflectance, good.reflectance, rtol=1e-5)
    assert any("spectra were taken as" in note for note in library.notes) != told


def test_a_few_noisy_bands_do_not_decide_the_quantity(write_csv):
    def change(frame):
        frame["420"] = 4.5  # one of 207 bands is noise

    report = assert_refused(
        write_csv(change), r"30 values of reflectance \(fraction\) that ar"
    )
    assert len(report.problems) == 1


def flatten(frame):
    """Straight lines, of which the shape says nothing, from 0.35 to 0.5."""
    size = frame[BANDS].mean(axis=1).to_numpy()[:, np.newaxis]
    frame[BANDS] = 0.35 + 0.15 * size + np.linspace(0, 0.01, len(BANDS))


def test_an_undecidable_quantity_is_asked_for(write_csv):
    path = write_csv(flatten)
    assert_refused(
        path,
        r"'quantity' could be reflectance or absorbance \(values from 0\.3.* to 0\..*"
        r"no shape that tells\): say quantity='reflectance' or quantity='absorbance'\.",
    )
    assert read_file(path, quantity="reflectance")
    assert read_file(path, quantity="absorbance")


def test_values_and_shape_that_disagree_are_asked_about(write_csv):
    def whiten(frame):
        brighten(frame)
        frame[BANDS] = 0.05 - np.log10(frame[BANDS])  # of 0.02 in brightest bands
        frame[BANDS] -= frame[BANDS].to_numpy().min() - 0.02

    assert_refused(
        write_csv(whiten),
        "values from .* look like reflectance, but water near 1414 and 1915 nm is a "
        r"peak, the visible falls as in absorbance\): say quantity='reflectance' or",
    )


@pytest.mark.parametrize("size", ["mean", "max"])
def test_scaled_spectra_are_refused_whatever_their_shape(write_csv, size):
    def scale(frame):
        brighten(frame)
        frame[BANDS] = frame[BANDS].div(getattr(frame[BANDS], size)(axis=1), axis=0)

    assert_refused(write_csv(scale), "have the same m.*: they look like pre-treated")


@pytest.mark.parametrize(
    ("change", "told", "message"),
    [
        (percent, "reflectance", "looks like percent .*: say quantity='percent'"),
        (to_absorbance, "reflectance", "looks like percent or absorbance"),
        (None, "percent", "looks like a fraction .*: say quantity='reflectance'"),
        (percent, "absorbance", "looks like percent .*: say quantity='percent'"),
    ],
)
def test_a_quantity_that_cannot_be_is_refused(write_csv, change, told, message):
    assert_refused(write_csv(change), message, quantity=told)


def test_negative_absorbance_is_noise_down_to_a_reflectance_of_one_and_a_half(
    write_csv,
):
    def change(value):
        def spoil(frame):
            to_absorbance(frame)
            frame.loc[0, "1000"] = value

        return spoil

    # 10 ** 0.17 = 1.48
    library = read_file(write_csv(change(-0.17)), quantity="absorbance")
    assert library.reflectance.max() == pytest.approx(1.48, abs=0.005)
    message = r"absorbance that are below -0\.18 \(first: -0\.2, sample '001'"
    assert_refused(write_csv(change(-0.2)), message, quantity="absorbance")


@pytest.mark.parametrize("factor", [10_000, 0.01])
def test_reflectance_times_a_number_is_refused(write_csv, factor):
    def scale(frame):
        frame[BANDS] *= factor

    message = "no soil reflects .* seem to be multiplied by a number, such as 10,000"
    report = assert_refused(write_csv(scale), message)
    assert len(report.problems) == 1


def _in_two_quantities(frame):
    frame.iloc[:3, 2:] *= 100


def _pretreated(frame):
    spectra = frame.iloc[:, 2:].to_numpy()
    frame.iloc[:, 2:] = (spectra - spectra.mean(1, keepdims=True)) / spectra.std()


def _flat(frame):
    frame.iloc[4, 2:] = 0.2


def _as_mass_fraction(frame):
    frame["soc"] /= 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_in_two_quantities, "seem to be of different quantities"),
        (_pretreated, "look like pre-treated spectra"),
        (_flat, "The spectra of 1 samples are constant .*'005', data row 5"),
        (_as_mass_fraction, "this looks like a fraction of mass"),
    ],
)
def test_values_that_are_no_raw_spectra_or_percent_are_refused(
    write_csv, change, message
):
    with pytest.raises(ValueError, match=message):
        read_file(write_csv(change))


# SOC


def test_soc_that_looks_like_g_per_kg_is_asked_for(write_csv):
    def bright(frame):
        brighten(frame)
        scale_soc(10)(frame)

    message = "median of 1.*: this looks like g/kg. Say soc_unit='g/kg' or soc_unit='%'"
    assert_refused(write_csv(bright), message, quantity="reflectance")
    near_infrared = write_csv(
        lambda frame: frame.drop(columns=BANDS[:60]).assign(soc=10 * frame["soc"])
    )
    assert_refused(near_infrared, "this looks like g/kg")
    # The moist soils of Vaud reflect about 7 % at 600 nm.
    path = write_csv(scale_soc(10))
    assert_refused(path, "this could be g/kg or the percent of an organic soil")
    assert read_file(path, soc_unit="%").soc.max() > 20
    library = read_file(path, soc_unit="g/kg")
    assert "SOC in g/kg was divided by 10 to give %." in library.notes
    assert np.allclose(library.soc, read_file(write_csv()).soc)


@pytest.mark.parametrize(
    ("change", "unit", "message"),
    [
        (put("soc", 2, -0.5), "", r"1 values that are negative \(first: -0.5, sample"),
        (put("soc", 2, 61), "", r"above 60 % .* \(first: 61, sample '003', data row 3"),
        (put("soc", 2, 601), "g/kg", r"above 600 g/kg .* \(first: 601"),
        (lambda frame: frame.assign(soc=2.0), "", "'soc' is 2 for every sample"),
    ],
)
def test_soc_that_cannot_be_is_refused(write_csv, change, unit, message):
    assert_refused(write_csv(change), message, soc_unit=unit)


# Cells


NOT_TEXT = r"must hold numbers, got the text 'n.d.' \(sample '012', data row 12\)"
NOT_POSITIVE = r"zero or negative \(first: {}, sample '005', data row 5, column '1000'"


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("1000", 4, 0.0, NOT_POSITIVE.format(0)),
        ("1000", 4, -0.02, NOT_POSITIVE.format(-0.02)),
        ("soc", 11, "n.d.", f"Column 'soc' {NOT_TEXT}"),
        ("1000", 11, "n.d.", f"Column '1000' {NOT_TEXT}"),
        ("soc", slice(0, 29), "low", "; 29 more such cells"),
        ("1000", 0, "0,25", "got the text '0,25'"),  # separated by commas
        ("1000", 0, "nan(x)", r"got the text 'nan\(x\)'"),
        *(
            ("1000", 0, word, "1 missing or infinite")
            for word in ("", "NA", "n/a", "null", "#N/A")
        ),
        (
            "sample_id",
            6,
            "003",
            r"1 ids that are used more than once \(first: '003' in data rows 3 and 7\)",
        ),
        ("sample_id", 6, "", r"1 empty cells \(first: data row 7\)"),
    ],
)
def test_a_spoilt_cell_is_refused_once_with_its_place(
    write_csv, column, row, value, message
):
    report = assert_refused(write_csv(put(column, row, value)), message)
    assert len(report.problems) == 1  # text is not counted as missing too


@pytest.mark.parametrize("name", ["farm.csv", "farm.parquet"])
@pytest.mark.parametrize("value", [None, np.nan, np.inf])
def test_missing_and_infinite_values_are_refused(write_csv, value, name):
    def change(column, rows):
        def spoil(frame):
            frame.loc[rows, column] = value

        return spoil

    assert_refused(
        write_csv(change("1000", [6, 8]), name=name),
        r"The spectra have 2 missing .* \(first: sample '007', data row 7, column '10",
    )
    none = write_csv(change("soc", range(30)), name=name)
    if value == np.inf:
        assert_refused(none, r"Column 'soc' has 30 infinite values \(first: .*'001'")
    else:
        assert np.isnan(read_file(none).soc).all()
    some = write_csv(change("soc", [6, 8]), name=name)
    if value == np.inf:
        assert_refused(some, r"'soc' has 2 infinite values \(first: sample '007'")
        return
    site = read_file(some)
    assert np.flatnonzero(np.isnan(site.soc)).tolist() == [6, 8]
    assert "28 samples are measured, 2 have no SOC." in site.notes
    facts = dict(inspect_file(some).facts)
    assert facts["measured"] == "28 samples, 2 are to be estimated"


def test_checks_of_soc_look_at_the_measured_samples(write_csv):
    def change(value):
        def spoil(frame):
            frame["soc"] = frame["soc"].astype(object)
            frame.loc[:19, "soc"] = ""
            if value is not None:
                frame.loc[20:, "soc"] = value

        return spoil

    site = read_file(write_csv(change(None)), soc_unit="g/kg")
    assert site.soc[:20].tolist() == pytest.approx([np.nan] * 20, nan_ok=True)
    assert site.take([3, 25]).on_grid([500, 510]).soc[0] != site.soc[25] > 0
    assert_refused(write_csv(change(2.0)), "'soc' is 2 for every sample")
    assert_refused(write_csv(change("<0.1")), "got the text '<0.1' .*'021'")
    assert_refused(write_csv(change(61)), "this could be g/kg")


@pytest.mark.parametrize("column", ["soc", "1000"])
@pytest.mark.parametrize("value", ["1e308", "-1e308", "1e400", "1e-50"])
def test_absurd_numbers_are_a_problem_and_never_a_warning(write_csv, column, value):
    report = inspect_file(write_csv(put(column, 0, value)))
    allowed = column == "soc" and value == "1e-50"  # as good as no carbon
    assert bool(report.problems) != allowed
