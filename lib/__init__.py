"""All the logic of Model Workbench; knows no user interface and no HTTP."""
