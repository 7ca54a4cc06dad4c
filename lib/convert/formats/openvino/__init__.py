"""OpenVINO IR."""

from lib.convert.core.format import Format

FORMATS = (Format("openvino", "OpenVINO IR", "model.xml", "openvino.runner:OpenvinoRunner"),)
