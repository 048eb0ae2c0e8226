"""install-wheel.py WHEEL OUT PYTHON: unpack a wheel below OUT, and write a program for each entry point."""

import compileall
import py_compile
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

wheel, out, python = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
site = out / "lib" / "site-packages"
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(site)
compileall.compile_dir(
    site, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, stripdir=str(out)
)
points = ConfigParser()
points.read(site.glob("*.dist-info/entry_points.txt"))
(out / "bin").mkdir()
for name, target in points["console_scripts"].items():
    module, function = target.split(":")
    program = out / "bin" / name
    program.write_text(
        f"#!{python} -s\n"
        f"import sys\nsys.path.insert(0, {str(site)!r})\n"
        f"from {module} import {function}\nsys.exit({function}())\n"
    )
    program.chmod(0o755)
