"""What can be checked of deploy/ without an engine: linters, schemas and the programs' own checks find nothing."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import compose_spec
import kubernetes_validate
import pytest
import yaml

from tests.deploy.commands import DEPLOY, let_in
from tests.deploy.conftest import GAIA

MANIFESTS = sorted(set(DEPLOY.glob("kubernetes/*.yaml")) - {DEPLOY / "kubernetes" / "kustomization.yaml"})
_LEAST_EXPOSED = 20
"""Of `systemd-analyze security`, in tenths: 0 is safest, 100 least safe."""


def checked(*words: object, **options) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_dockerfile_has_no_findings():
    linter = Path(sys.executable).with_name("hadolint")
    assert checked(linter, "--failure-threshold", "style", DEPLOY / "container" / "Dockerfile") == ""


def test_what_the_image_is_built_from_is_there():
    root = DEPLOY.parent
    text = (DEPLOY / "container" / "Dockerfile").read_text()
    folders = re.search(r"--no-build-isolation (\. .*?) \\", text)[1].split()
    packages = {
        path.parent
        for path in (root / "pyproject.toml", *root.glob("*/pyproject.toml"), *root.glob("toolsets/*/pyproject.toml"))
    }
    assert {(root / folder).resolve() for folder in folders} == packages
    assert all(list(root.glob(pattern)) for pattern in let_in())
    tops = {folder.relative_to(root).parts[0] for folder in packages if folder != root}
    assert tops <= set(let_in())


def test_compose_is_valid_and_its_references_exist():
    path = DEPLOY / "compose" / "compose.yaml"
    found = compose_spec.PyCompose.from_yaml(path.read_text())
    found.validate()
    assert set(found.service_names()) == {"gaia", "postgres", "model"}
    build = yaml.safe_load(path.read_text())["services"]["gaia"]["build"]
    assert (path.parent / build["context"] / build["dockerfile"]).is_file()
    document = yaml.safe_load(path.read_text())
    mounted = [volume for service in document["services"].values() for volume in service["volumes"]]
    assert {name for name, _, _ in (volume.partition(":") for volume in mounted) if name[0] != "."} == set(
        document["volumes"]
    )
    with pytest.raises(ValueError, match="restrat"):
        compose_spec.PyCompose.from_yaml(path.read_text().replace("restart:", "restrat:", 1))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_is_valid(path):
    (document,) = yaml.safe_load_all(path.read_text())
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_manifests_fit_together():
    found = {path.stem: yaml.safe_load(path.read_text()) for path in MANIFESTS}
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {path.name for path in MANIFESTS}
    template = found["deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    (container,) = template["spec"]["containers"]
    (port,) = container["ports"]
    assert found["deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["service"]["spec"]["selector"] == labels
    assert found["service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert found["disruption-budget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["network-policy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert found["network-policy"]["spec"]["ingress"][0]["ports"][0]["port"] == port["containerPort"]
    maps = {each["name"]: each["files"] for each in kustomization["configMapGenerator"]}
    used = [volume["configMap"]["name"] for volume in template["spec"]["volumes"] if "configMap" in volume]
    assert set(used) == maps.keys()
    assert all((DEPLOY / "kubernetes" / file).is_file() for files in maps.values() for file in files)


def test_systemd_accepts_the_unit_and_finds_it_hardened(tmp_path):
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None, "systemd-analyze is needed: apt-get install -y --no-install-recommends systemd"
    copy = tmp_path / "gaia.service"
    copy.write_text((DEPLOY / "systemd" / "gaia.service").read_text().replace("/opt/gaia/bin/gaia", str(GAIA)))
    assert checked(analyze, "verify", "--man=no", copy) == ""
    checked(analyze, "security", "--offline=true", f"--threshold={_LEAST_EXPOSED}", copy)
