"""The fields of KubeRay's RayJob that our manifest uses, strictly: what is not named here is a misspelling.

Written by hand after reading the definition of the resource (ray.io/v1) and what the operator of KubeRay 1.7 checks
besides, because the whole definition is 25,000 lines.
"""

from typing import Any


def exactly(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """The schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": required | optional,
        "additionalProperties": False,
    }


TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
WORDS = {"type": "array", "items": TEXT}
TEXTS = {"type": "object", "additionalProperties": TEXT}  # a quantity that is not quoted would be a number
POD = exactly(
    {
        "spec": exactly(
            {
                "terminationGracePeriodSeconds": COUNT,
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": exactly(
                        {
                            "name": TEXT,
                            "image": TEXT,
                            "resources": exactly({"limits": TEXTS, "requests": TEXTS}),
                            "volumeMounts": {"type": "array", "items": exactly({"name": TEXT, "mountPath": TEXT})},
                            "lifecycle": exactly({"preStop": exactly({"exec": exactly({"command": WORDS})})}),
                        }
                    ),
                },
                "volumes": {
                    "type": "array",
                    "items": exactly({"name": TEXT, "persistentVolumeClaim": exactly({"claimName": TEXT})}),
                },
            }
        )
    }
)
RAY_JOB = exactly(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": exactly({"name": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,46}$"}}),
        "spec": exactly(
            {
                "entrypoint": TEXT,
                "rayClusterSpec": exactly(
                    {
                        "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},  # asked for by authOptions
                        "authOptions": exactly({"mode": {"enum": ["disabled", "token"]}}, secretName=TEXT),
                        "headGroupSpec": exactly({"rayStartParams": TEXTS, "template": POD}),
                        "workerGroupSpecs": {
                            "type": "array",
                            "minItems": 1,
                            "items": exactly(
                                {
                                    "groupName": TEXT,
                                    "replicas": COUNT,
                                    "minReplicas": COUNT,
                                    "maxReplicas": COUNT,
                                    "rayStartParams": TEXTS,
                                    "template": POD,
                                }
                            ),
                        },
                    }
                ),
            },
            submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
            runtimeEnvYAML=TEXT,
            backoffLimit=COUNT,
            shutdownAfterJobFinishes={"type": "boolean"},
            ttlSecondsAfterFinished=COUNT,
        ),
    }
)
