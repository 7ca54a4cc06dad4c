"""Small configs of transformers, one a model type: what ``torch_coverage`` converts. Chosen before any was tried."""

from __future__ import annotations

from typing import Any

TEXT = {
    **{"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"intermediate_size": 64, "max_position_embeddings": 64},
}
DECODER = TEXT | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BART = {
    **{"vocab_size": 300, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4},
    **{"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64},
    **{"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2},
}
PATCHES = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    **{"image_size": 32, "patch_size": 8},
}
WAVES = {
    **{"vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    **{"conv_dim": [32, 32, 32], "conv_kernel": [10, 3, 3], "conv_stride": [5, 4, 2], "num_feat_extract_layers": 3},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
}
STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "image_size": 64}
WINDOWS = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4}
ROWS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("bert", "BertForSequenceClassification", TEXT),
    ("roberta", "RobertaForMaskedLM", TEXT),
    ("xlm-roberta", "XLMRobertaForTokenClassification", TEXT),
    ("distilbert", "DistilBertForSequenceClassification", TEXT | {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
    ("albert", "AlbertModel", TEXT | {"embedding_size": 16}),
    ("electra", "ElectraModel", TEXT | {"embedding_size": 16}),
    ("mpnet", "MPNetModel", TEXT),
    ("deberta", "DebertaModel", TEXT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ("deberta-v2", "DebertaV2Model", TEXT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ("convbert", "ConvBertModel", TEXT | {"embedding_size": 32}),
    (
        "modernbert",
        "ModernBertForMaskedLM",
        TEXT | {"pad_token_id": 0, "global_attn_every_n_layers": 2, "local_attention": 8},
    ),
    ("mobilebert", "MobileBertModel", TEXT | {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}),
    ("squeezebert", "SqueezeBertModel", TEXT | {"embedding_size": 32}),
    ("nystromformer", "NystromformerModel", TEXT | {"num_landmarks": 4, "segment_means_seq_len": 4}),
    ("roformer", "RoFormerModel", TEXT | {"embedding_size": 32}),
    ("esm", "EsmModel", TEXT | {"pad_token_id": 1, "mask_token_id": 299, "position_embedding_type": "rotary"}),
    ("fnet", "FNetModel", TEXT),
    ("gpt2", "GPT2LMHeadModel", {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    (
        "gpt_neo",
        "GPTNeoForCausalLM",
        {
            **{"vocab_size": 300, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 64},
            **{"attention_types": [[["global", "local"], 1]], "window_size": 8},
        },
    ),
    ("gpt_neox", "GPTNeoXForCausalLM", TEXT),
    (
        "gptj",
        "GPTJForCausalLM",
        {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    ),
    ("opt", "OPTForCausalLM", TEXT | {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    ("bloom", "BloomForCausalLM", {"vocab_size": 300, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    ("llama", "LlamaForCausalLM", DECODER),
    ("mistral", "MistralForCausalLM", DECODER | {"sliding_window": 8}),
    ("qwen2", "Qwen2ForCausalLM", DECODER),
    ("qwen3", "Qwen3ForCausalLM", DECODER | {"head_dim": 8}),
    ("gemma", "GemmaForCausalLM", DECODER | {"head_dim": 8}),
    ("gemma2", "Gemma2ForCausalLM", DECODER | {"head_dim": 8, "sliding_window": 8}),
    ("gemma3_text", "Gemma3ForCausalLM", DECODER | {"head_dim": 8, "sliding_window": 8}),
    ("phi", "PhiForCausalLM", DECODER),
    ("phi3", "Phi3ForCausalLM", DECODER),
    ("falcon", "FalconForCausalLM", TEXT),
    ("stablelm", "StableLmForCausalLM", DECODER),
    ("olmo2", "Olmo2ForCausalLM", DECODER),
    ("mixtral", "MixtralForCausalLM", DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    ("mamba", "MambaForCausalLM", {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
    (
        "t5",
        "T5ForConditionalGeneration",
        {
            "vocab_size": 300,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
    ),
    ("bart", "BartForConditionalGeneration", BART),
    ("pegasus", "PegasusForConditionalGeneration", BART),
    ("m2m_100", "M2M100ForConditionalGeneration", BART),
    ("vit", "ViTForImageClassification", PATCHES),
    ("deit", "DeiTForImageClassification", PATCHES),
    ("beit", "BeitForImageClassification", PATCHES),
    ("dinov2", "Dinov2Model", PATCHES | {"mlp_ratio": 2}),
    ("swin", "SwinForImageClassification", WINDOWS),
    ("swinv2", "Swinv2ForImageClassification", WINDOWS),
    ("convnext", "ConvNextForImageClassification", STAGES),
    ("convnextv2", "ConvNextV2ForImageClassification", STAGES),
    ("resnet", "ResNetForImageClassification", STAGES | {"embedding_size": 8}),
    ("regnet", "RegNetForImageClassification", STAGES | {"embedding_size": 8, "groups_width": 8}),
    ("mobilenet_v2", "MobileNetV2ForImageClassification", {"image_size": 64, "depth_multiplier": 0.25}),
    (
        "mobilevit",
        "MobileViTForImageClassification",
        {
            **{"image_size": 64, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32]},
            "num_attention_heads": 4,
        },
    ),
    (
        "segformer",
        "SegformerForSemanticSegmentation",
        {**STAGES, "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 16, "num_encoder_blocks": 4},
    ),
    (
        "clip",
        "CLIPModel",
        {"projection_dim": 16, "text_config": TEXT | {"eos_token_id": 2, "projection_dim": 16}, "vision_config": PATCHES},
    ),
    ("siglip", "SiglipModel", {"text_config": TEXT | {"projection_size": 32}, "vision_config": PATCHES}),
    ("wav2vec2", "Wav2Vec2ForCTC", WAVES),
    ("hubert", "HubertForCTC", WAVES),
    (
        "whisper",
        "WhisperForConditionalGeneration",
        BART | {"num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 32, "eos_token_id": 2},
    ),
    (
        "audio-spectrogram-transformer",
        "ASTForAudioClassification",
        PATCHES | {"num_mel_bins": 16, "max_length": 48, "frequency_stride": 8, "time_stride": 8},
    ),
)


def configs() -> list[dict[str, Any]]:
    return [{"model_type": kind, "architectures": [name], **rest} for kind, name, rest in ROWS]
