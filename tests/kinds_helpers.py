"""Workbooks as spreadsheets write them, for tests that have no package for it."""

import zipfile
from xml.sax.saxutils import escape

NAMES = "http://schemas.openxmlformats.org"
MAIN = f'xmlns="{NAMES}/spreadsheetml/2006/main"'
OF_DOCUMENT = f"{NAMES}/officeDocument/2006/relationships"
OF_PACKAGE = f'xmlns="{NAMES}/package/2006/relationships"'
TYPES = f'xmlns="{NAMES}/package/2006/content-types"'
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def write_workbook(path, sheets):
    """Write sheets, a list of rows by name; text stays text, numbers are numbers."""
    names = [*sheets]
    listed, related, types, parts = "", "", "", {}
    for n, name in enumerate(names, 1):
        rows = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in sheets[name])
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f"<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>"
        )
        listed += f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>'
        related += (
            f'<Relationship Id="r{n}" Type="{OF_DOCUMENT}/worksheet" '
            f'Target="worksheets/sheet{n}.xml"/>'
        )
        types += (
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" '
            f'ContentType="{KIND}.worksheet+xml"/>'
        )
    parts["xl/workbook.xml"] = (
        f'<workbook {MAIN} xmlns:r="{OF_DOCUMENT}"><sheets>{listed}</sheets></workbook>'
    )
    parts["xl/_rels/workbook.xml.rels"] = (
        f"<Relationships {OF_PACKAGE}>{related}</Relationships>"
    )
    parts["_rels/.rels"] = (
        f'<Relationships {OF_PACKAGE}><Relationship Id="r1" '
        f'Type="{OF_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/>'
        "</Relationships>"
    )
    parts["[Content_Types].xml"] = (
        f'<Types {TYPES}><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{KIND}.sheet.main+xml"/>'
        f"{types}</Types>"
    )
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in parts.items():
            packed.writestr(name, text)
    return path


def _cell(value):
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f"<c><v>{value}</v></c>"
