"""Pictures for model cards and pages. Each is described once; `charts.picture` explains how."""
