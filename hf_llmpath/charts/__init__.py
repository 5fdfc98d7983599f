"""Pictures for model cards and pages. A stage describes each picture once; `charts.picture` explains how."""
