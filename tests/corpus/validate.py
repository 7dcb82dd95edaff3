"""Holds the corpus to the published JSON Schema with a validator that is not ours.

Usage: validate.py SCHEMA ACCEPTED_DIRECTORY REFUSED_DIRECTORY [ACCEPTED_FILE...]

The files are read as YAML 1.2 (ruamel.yaml). Prints what does not come out as it should and exits 1.
"""

import json
import pathlib
import sys

import jsonschema
import ruamel.yaml


def read(path):
    document = ruamel.yaml.YAML(typ="safe", pure=True).load(path)
    # A file of comments alone is an empty map to the gateway.
    return {} if document is None else document


def main():
    schema_path, accepted, refused, *further = map(pathlib.Path, sys.argv[1:])
    schema = json.loads(schema_path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    wrong = []
    count = 0
    for path in sorted(accepted.glob("*.yaml")) + further:
        count += 1
        for error in validator.iter_errors(read(path)):
            wrong.append(f"{path}: should be valid: {error.json_path}: {error.message}")
    for path in sorted(refused.glob("*.yaml")):
        count += 1
        if validator.is_valid(read(path)):
            wrong.append(f"{path}: should not be valid")
    print("\n".join(wrong) or f"{count} files as they should be")
    return 1 if wrong else 0


sys.exit(main())
