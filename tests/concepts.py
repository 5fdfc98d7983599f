"""Which test proves which concept: stage, concept, `(file, test)`."""

PROOFS = {
    "neural-network": {
        "neuron": ("tests/scratch/test_scratch_layers.py", "test_layers_equal_torch"),
        "layer": (
            "tests/scratch/test_scratch_network.py",
            "test_a_single_layer_gets_at_most_three_points_of_xor",
        ),
        "sigmoid": ("tests/scratch/test_scratch_layers.py", "test_layers_equal_torch"),
        "tanh": ("tests/scratch/test_scratch_layers.py", "test_layers_equal_torch"),
        "ReLU": ("tests/scratch/test_scratch_layers.py", "test_layers_equal_torch"),
        "GELU": ("tests/scratch/test_scratch_layers.py", "test_layers_equal_torch"),
        "softmax": ("tests/scratch/test_scratch_layers.py", "test_layers_equal_torch"),
        "forward propagation": ("tests/scratch/test_scratch_network.py", "test_a_deep_network_equals_torch"),
        "mean squared error": ("tests/scratch/test_scratch_layers.py", "test_losses_equal_torch"),
        "binary cross-entropy": ("tests/scratch/test_scratch_layers.py", "test_losses_equal_torch"),
        "categorical cross-entropy": ("tests/scratch/test_scratch_layers.py", "test_losses_equal_torch"),
    },
    "backpropagation": {
        "chain rule": (
            "tests/stages/s02_backpropagation/test_computation_graph.py",
            "test_the_graph_gives_the_gradients_of_the_layers",
        ),
        "backpropagation": ("tests/scratch/test_scratch_network.py", "test_a_deep_network_equals_torch"),
        "gradients": ("tests/scratch/test_scratch_layers.py", "test_gradients_equal_central_differences"),
        "gradient descent": ("tests/scratch/test_scratch_optimizers.py", "test_steps_equal_torch"),
        "learning rate": (
            "tests/training/test_numpy_loop.py",
            "test_a_training_that_diverges_stops_and_keeps_its_last_finite_weights",
        ),
    },
    "optimizers": {
        "stochastic gradient descent": (
            "tests/scratch/test_optimizer_parity.py",
            "test_numpy_equals_torch_for_200_steps",
        ),
        "momentum": (
            "tests/stages/s03_optimizers/test_descent.py",
            "test_momentum_needs_the_root_of_the_steps",
        ),
        "RMSprop": (
            "tests/stages/s03_optimizers/test_descent.py",
            "test_rates_per_weight_need_straight_axes",
        ),
        "Adam": (
            "tests/scratch/test_optimizer_parity.py",
            "test_the_first_step_of_adam_is_the_learning_rate",
        ),
        "decoupled weight decay (AdamW)": (
            "tests/training/test_optimizers.py",
            "test_decoupled_decay_differs_from_decay_in_the_gradient",
        ),
        "learning rate": (
            "tests/stages/s03_optimizers/test_descent.py",
            "test_gradient_descent_diverges_above_two_over_the_curvature",
        ),
    },
    "deep-networks": {
        "deep architecture": ("tests/models/test_mlp.py", "test_model_equals_torch_layers"),
        "vanishing and exploding gradients": (
            "tests/stages/s04_deep_networks/test_depth.py",
            "test_gradients_vanish_or_live_as_the_theory_says",
        ),
        "ReLU": ("tests/convert/test_numpy_network.py", "test_to_torch_and_back_is_the_same_function"),
        "initialization": ("tests/models/test_mlp.py", "test_first_weights"),
        "residual connection": (
            "tests/models/test_mlp.py",
            "test_residual_layers_are_those_whose_sizes_agree",
        ),
        "a training loop with Accelerate": (
            "tests/training/test_accelerate_loop.py",
            "test_two_processes_train_what_one_trains",
        ),
    },
    "regularization": {
        "overfitting": (
            "tests/stages/s05_regularization/test_regularized.py",
            "test_few_images_are_memorized",
        ),
        "dropout": ("tests/models/test_layers_regularization.py", "test_dropout_equals_torch"),
        "weight decay": (
            "tests/stages/s05_regularization/test_regularized.py",
            "test_weight_decay_shrinks_matrices_alone",
        ),
        "batch normalization": ("tests/models/test_layers_regularization.py", "test_batch_norm_equals_torch"),
        "backward pass of a normalization": (
            "tests/models/test_layers_regularization.py",
            "test_gradients_equal_differences",
        ),
        "layer normalization": ("tests/models/test_layers_regularization.py", "test_layer_norm_equals_torch"),
        "max-norm constraint": (
            "tests/models/test_layers_regularization.py",
            "test_max_norm_equals_torch_renorm",
        ),
        "label smoothing": (
            "tests/stages/s05_regularization/test_regularized.py",
            "test_label_smoothing_is_that_of_torch",
        ),
        "early stopping": (
            "tests/stages/s05_regularization/test_regularized.py",
            "test_early_stopping_keeps_the_best_weights",
        ),
        "data augmentation": (
            "tests/stages/s05_regularization/test_augmentation.py",
            "test_elastic_displacement_has_the_stated_size_and_is_smooth",
        ),
    },
    "sequences": {
        "time series": ("tests/stages/s06_sequences/test_series.py", "test_read_series"),
        "sequential dependency": (
            "tests/training/test_baselines.py",
            "test_ngram_equals_the_formula_by_hand",
        ),
        "one-hot encoding": (
            "tests/training/test_probes.py",
            "test_one_hot_times_weights_is_the_embedding_look_up",
        ),
        "character tokenizer": (
            "tests/data/tokenizers/test_characters.py",
            "test_every_unicode_text_comes_back",
        ),
        "next-step prediction": (
            "tests/models/test_rnn.py",
            "test_loss_is_the_cross_entropy_of_the_next_token",
        ),
        "temperature": ("tests/training/test_probes.py", "test_temperature_divides_the_logits"),
        "next-value forecast": (
            "tests/models/test_rnn.py",
            "test_untrained_forecast_is_the_seasonal_naive_one",
        ),
    },
    "rnn": {
        "hidden state": ("tests/models/test_layers_recurrence.py", "test_layer_equals_torch"),
        "back-propagation through time": (
            "tests/models/test_layers_recurrence.py",
            "test_hand_written_gradients_equal_autograd",
        ),
        "vanishing gradients through time": (
            "tests/training/test_probes.py",
            "test_gradient_by_lag_equals_autograd_jacobian",
        ),
        "gradient clipping": ("tests/training/test_trainer.py", "test_clipping_bounds_the_gradient"),
        "truncated back-propagation through time": (
            "tests/training/test_trainer.py",
            "test_carried_state_reads_on_where_the_window_before_ended",
        ),
        "state kept through generate()": (
            "tests/models/test_common.py",
            "test_generation_is_the_same_with_and_without_cache",
        ),
    },
    "lstm-gru": {
        "gates (input, forget, output)": (
            "tests/models/test_layers_recurrence.py",
            "test_layer_equals_torch",
        ),
        "gates (reset, update)": ("tests/models/test_layers_recurrence.py", "test_layer_equals_torch"),
        "cell state": (
            "tests/models/test_layers_recurrence.py",
            "test_hand_written_gradients_equal_autograd",
        ),
        "long-term dependencies": (
            "tests/data/test_algorithmic.py",
            "test_adding_problem_is_solved_by_its_rule",
        ),
        "gates over text": ("tests/training/test_probes.py", "test_gates_are_those_of_the_formulas"),
    },
    "attention": {
        "query": (
            "tests/models/test_summarizer.py",
            "test_the_decoder_asks_with_its_state_and_the_source_answers",
        ),
        "key and value": (
            "tests/models/test_summarizer.py",
            "test_the_decoder_asks_with_its_state_and_the_source_answers",
        ),
        "scaled dot-product attention": (
            "tests/models/test_layers_attention.py",
            "test_scaled_dot_product_attention_equals_torch",
        ),
        "additive attention": (
            "tests/models/test_layers_attention.py",
            "test_additive_attention_is_its_formula",
        ),
        "alignment": (
            "tests/stages/s09_attention/test_source_alignment.py",
            "test_the_alignment_is_that_of_the_writing_itself",
        ),
        "attention entropy": (
            "tests/stages/s09_attention/test_source_alignment.py",
            "test_entropy_is_that_of_scipy",
        ),
        "copy mechanism": ("tests/models/test_summarizer.py", "test_copying_mixes_vocabulary_and_source"),
        "beam search": ("tests/models/test_common.py", "test_generation_is_the_same_with_and_without_cache"),
    },
    "transformer": {
        "encoder–decoder": ("tests/models/test_transformer.py", "test_transformer_equals_torch"),
        "multi-head attention": (
            "tests/models/test_layers_attention.py",
            "test_multi_head_attention_equals_torch",
        ),
        "sinusoidal positions": (
            "tests/models/test_layers_positions.py",
            "test_sinusoidal_positions_are_their_formula",
        ),
        "learned positions": (
            "tests/models/test_layers_positions.py",
            "test_learned_positions_end_where_the_model_ends",
        ),
        "rotary positions": ("tests/models/test_layers_positions.py", "test_rotary_positions_equal_llamas"),
        "residual stream and layer norm, pre and post": (
            "tests/models/test_transformer.py",
            "test_transformer_equals_torch",
        ),
        "feed-forward layer": ("tests/models/test_transformer.py", "test_transformer_equals_torch"),
        "causal mask": ("tests/models/test_layers_attention.py", "test_causal_attention_equals_torch"),
        "teacher forcing": (
            "tests/models/test_transformer.py",
            "test_the_loss_is_cross_entropy_with_teacher_forcing",
        ),
        "attention rollout": (
            "tests/training/test_attention_probes.py",
            "test_rollout_is_the_product_of_mixed_layers",
        ),
    },
    "pretraining": {
        "masked language modeling": (
            "tests/data/batches/test_collators.py",
            "test_shares_equal_those_of_transformers",
        ),
        "bidirectional encoder": (
            "tests/convert/test_bert.py",
            "test_values_and_gradients_equal_those_of_bert",
        ),
        "autoregressive modeling": (
            "tests/training/recipes/test_masked_language_model.py",
            "test_the_autoregressive_loss_guesses_every_next_token",
        ),
        "subword tokenizer": (
            "tests/data/tokenizers/test_subwords.py",
            "test_byte_level_bpe_gives_every_text_back",
        ),
        "packing and streaming": (
            "tests/data/batches/test_packing.py",
            "test_streamed_blocks_equal_cached_ones_and_those_made_by_hand",
        ),
        "transfer": (
            "tests/training/recipes/test_classifier.py",
            "test_the_encoder_is_taken_over_and_the_classifier_is_new",
        ),
        "fine-tuning": (
            "tests/training/recipes/test_classifier.py",
            "test_a_tiny_encoder_learns_to_classify",
        ),
    },
    "embeddings": {
        "Word2Vec: skip-gram": (
            "tests/stages/s12_embeddings/test_word2vec.py",
            "test_gradients_are_those_of_a_loop_over_all_pairs",
        ),
        "Word2Vec: CBOW": (
            "tests/stages/s12_embeddings/test_word2vec.py",
            "test_gradients_are_those_of_a_loop_over_all_pairs",
        ),
        "negative sampling": ("tests/models/test_word2vec.py", "test_negative_sampling_loss_is_its_formula"),
        "subsampling of frequent words": (
            "tests/stages/s12_embeddings/test_word_corpus.py",
            "test_frequent_words_are_skipped_as_often_as_stated",
        ),
        "co-occurrence": (
            "tests/stages/s12_embeddings/test_glove.py",
            "test_counts_are_those_of_two_nested_loops",
        ),
        "GloVe": (
            "tests/stages/s12_embeddings/test_glove.py",
            "test_a_step_follows_the_gradient_of_the_loss",
        ),
        "cosine similarity": (
            "tests/stages/s12_embeddings/test_word_probes.py",
            "test_neighbors_and_analogies_are_those_of_gensim",
        ),
        "analogy": (
            "tests/stages/s12_embeddings/test_word_probes.py",
            "test_neighbors_and_analogies_are_those_of_gensim",
        ),
        "contextual embeddings": (
            "tests/stages/s12_embeddings/test_contextual_vectors.py",
            "test_a_contextual_vector_is_the_mean_state_of_the_words_tokens",
        ),
    },
    "fine-tuning": {
        "task head": (
            "tests/convert/test_bert_files.py",
            "test_a_checkpoint_of_any_shape_gives_the_same_logits_and_gradients",
        ),
        "windows with a stride": (
            "tests/data/test_answer_windows.py",
            "test_windows_cover_the_context_and_overlap_by_the_stride",
        ),
        "likeliest span": (
            "tests/decoding/test_answer_spans.py",
            "test_the_best_spans_are_those_of_trying_every_one",
        ),
        "exact match and F1": ("tests/test_squad_metric.py", "test_hand_worked_cases"),
        "gradient clipping": (
            "tests/stages/s13_fine_tuning/test_span_training.py",
            "test_clipping_bounds_what_the_optimizer_sees",
        ),
        "early stopping": (
            "tests/stages/s13_fine_tuning/test_span_training.py",
            "test_early_stopping_stops_and_keeps_the_best_weights",
        ),
        "layer freezing": (
            "tests/training/test_adaptation.py",
            "test_frozen_weights_stay_and_the_others_move",
        ),
        "discriminative learning rates": (
            "tests/training/test_adaptation.py",
            "test_the_rate_falls_from_layer_to_layer",
        ),
        "LoRA": (
            "tests/training/test_adaptation.py",
            "test_lora_starts_as_the_model_and_merges_into_one_of_the_same_values",
        ),
    },
    "inference": {
        "greedy decoding": ("tests/decoding/test_generation.py", "test_greedy_decoding_is_that_of_generate"),
        "beam search": ("tests/decoding/test_generation.py", "test_beam_search_finds_what_generate_finds"),
        "sampling": ("tests/decoding/test_generation.py", "test_sampling_draws_what_generate_draws"),
        "temperature": ("tests/decoding/test_generation.py", "test_the_filters_are_those_of_transformers"),
        "top-k": ("tests/decoding/test_generation.py", "test_the_filters_are_those_of_transformers"),
        "top-p": ("tests/decoding/test_generation.py", "test_the_filters_are_those_of_transformers"),
        "KV cache": ("tests/decoding/test_generation.py", "test_without_the_cache_the_text_is_the_same"),
        "the overhead of modules": (
            "tests/decoding/test_bare_steps.py",
            "test_they_give_the_logits_of_the_modules_past_the_first_room",
        ),
        "quantization": (
            "tests/deploy/test_quantization.py",
            "test_a_quantized_model_is_saved_and_loaded_as_it_is",
        ),
        "distillation": (
            "tests/stages/s14_inference/test_distillation.py",
            "test_the_loss_is_what_the_formula_says",
        ),
        "ONNX Runtime": ("tests/deploy/test_onnx.py", "test_the_streamed_text_is_that_of_generate"),
    },
    "scaling": {
        "decoder-only Transformer": (
            "tests/convert/test_gpt2.py",
            "test_values_and_gradients_equal_those_of_gpt2",
        ),
        "Muon": ("tests/training/test_muon.py", "test_equals_torch_for_200_steps"),
        "data-parallel training": (
            "tests/training/distributed/test_gpt_processes.py",
            "test_two_processes_are_one",
        ),
        "sharded training": (
            "tests/training/distributed/test_gpt_processes.py",
            "test_sharded_weights_are_whole_ones",
        ),
        "mixed precision": (
            "tests/training/recipes/test_gpt.py",
            "test_16_bits_train_nearly_the_same_and_leave_weights_of_32",
        ),
        "gradient checkpointing": (
            "tests/stages/s15_scaling/test_footprint.py",
            "test_checkpointing_and_16_bits_save_memory_and_keep_the_loss",
        ),
        "gradient accumulation": (
            "tests/training/recipes/test_gpt.py",
            "test_accumulated_pieces_are_one_batch",
        ),
        "scaling law": (
            "tests/stages/s15_scaling/test_scaling_law.py",
            "test_a_law_is_found_again_and_carries_on",
        ),
    },
    "rlhf": {
        "supervised fine-tuning": (
            "tests/stages/s16_rlhf/test_trl_trainers.py",
            "test_fine_tuning_learns_from_the_assistants_tokens_alone",
        ),
        "preference data": (
            "tests/stages/s16_rlhf/test_preference_data.py",
            "test_every_form_becomes_the_same_pair",
        ),
        "reward model (Bradley-Terry)": (
            "tests/stages/s16_rlhf/test_trl_trainers.py",
            "test_the_loss_of_the_reward_model_is_ours",
        ),
        "policy gradient (REINFORCE)": (
            "tests/stages/s16_rlhf/test_policy_gradients.py",
            "test_the_gradient_of_reinforce_is_that_of_the_expected_reward",
        ),
        "PPO": (
            "tests/stages/s16_rlhf/test_policy_gradients.py",
            "test_a_bandit_comes_to_the_optimum_of_reward_and_penalty",
        ),
        "ratio and clipping": (
            "tests/stages/s16_rlhf/test_objectives.py",
            "test_clipping_stops_the_gradient_where_it_would_lead_too_far",
        ),
        "value head": (
            "tests/stages/s16_rlhf/test_policy_gradients.py",
            "test_the_value_head_learns_what_is_to_come",
        ),
        "advantage": (
            "tests/stages/s16_rlhf/test_objectives.py",
            "test_advantages_equal_a_loop_over_the_sum_of_the_paper",
        ),
        "KL penalty": ("tests/stages/s16_rlhf/test_policy_gradients.py", "test_a_target_divergence_is_kept"),
        "DPO": ("tests/stages/s16_rlhf/test_trl_trainers.py", "test_the_loss_of_dpo_is_ours"),
        "reward hacking": (
            "tests/stages/s16_rlhf/test_policy_gradients.py",
            "test_without_a_penalty_a_wrong_reward_is_followed_to_its_end",
        ),
    },
    "architectures": {
        "decoder-only (GPT)": ("tests/convert/test_gpt2.py", "test_values_and_gradients_equal_those_of_gpt2"),
        "encoder-only (BERT)": (
            "tests/convert/test_bert.py",
            "test_values_and_gradients_equal_those_of_bert",
        ),
        "encoder–decoder (T5)": ("tests/convert/test_t5.py", "test_values_and_gradients_equal_those_of_t5"),
        "relative position bias": ("tests/models/test_t5.py", "test_only_distances_matter"),
        "span corruption": (
            "tests/stages/s17_architectures/test_span_corruption.py",
            "test_input_and_target_restore_the_text",
        ),
        "text-to-text": (
            "tests/stages/s17_architectures/test_objectives_compared.py",
            "test_scores_of_classes_are_the_probabilities_of_their_names",
        ),
        "training objectives": (
            "tests/stages/s17_architectures/test_objectives_compared.py",
            "test_all_three_read_the_same_tokens",
        ),
        "equal size": (
            "tests/stages/s17_architectures/test_objectives_compared.py",
            "test_models_of_equal_size",
        ),
    },
}
