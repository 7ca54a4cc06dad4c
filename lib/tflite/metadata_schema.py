"""The tables of TensorFlow Lite's metadata for the verifier: sizes, not meanings (notation: see ``schema``).

From MediaPipe's metadata_schema.fbs, version 1.5.0.
"""

from __future__ import annotations

from lib.words import lines, words

TABLES: dict[str, tuple[str, ...]] = {
    row.partition(":")[0]: tuple(row.partition(": ")[2].split())
    for row in lines("""

ModelMetadata: s s s [SubGraphMetadata] s s [AssociatedFile] s
SubGraphMetadata: s s [TensorMetadata] [TensorMetadata] [AssociatedFile] \
    [ProcessUnit] [ProcessUnit] [TensorGroup] [TensorGroup] [CustomMetadata]
TensorMetadata: s s [s] Content [ProcessUnit] Stats [AssociatedFile]
AssociatedFile: s s 1 s s
Content: 1 u:ContentProperties ValueRange
ValueRange: 4 4
ImageProperties: 1 ImageSize
ImageSize: 4 4
BoundingBoxProperties: [4] 1 1
AudioProperties: 4 4
ProcessUnit: 1 u:ProcessUnitOptions
NormalizationOptions: [4] [4]
ScoreCalibrationOptions: 1 4
ScoreThresholdingOptions: 4
BertTokenizerOptions: [AssociatedFile]
SentencePieceTokenizerOptions: [AssociatedFile] [AssociatedFile]
RegexTokenizerOptions: s [AssociatedFile]
Stats: [4] [4]
TensorGroup: s [s]
CustomMetadata: s [1]
""")
    if row
}

UNIONS: dict[str, tuple[str, ...]] = {
    "ContentProperties": tuple(words("FeatureProperties ImageProperties BoundingBoxProperties AudioProperties")),
    "ProcessUnitOptions": tuple(
        words("""
    NormalizationOptions ScoreCalibrationOptions ScoreThresholdingOptions BertTokenizerOptions
    SentencePieceTokenizerOptions RegexTokenizerOptions
""")
    ),
}
