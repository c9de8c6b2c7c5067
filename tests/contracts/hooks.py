"""The concrete methods that subclasses may override, each with the class that declares it.

The rules of construction allow no others, and a page of the documentation shows these.
"""

# Special versions that are faster than the default or exact where it is not, and the test that
# holds them against it.
EVIDENCE, HOOKS = "test_evidence.py", "test_hooks.py"
PERFORMANCE_HOOKS = {
    ("ExponentialFamily", "energy"): ("the statistic need not be written down", EVIDENCE),
    ("Differentiable", "translated_evidence"): ("what is linear is done once", EVIDENCE),
    ("Differentiable", "mean_kernel"): (
        "a closed form instead of autodiff",
        "test_log_partition.py",
    ),
    ("Differentiable", "natural_kernel"): ("a closed form instead of the numerical dual", HOOKS),
    ("Differentiable", "improve"): ("a few steps of the numerical dual instead of all", HOOKS),
    ("Differentiable", "admits_mean"): ("a formula instead of the numerical dual", HOOKS),
    ("LinearEmbedding", "translate_through"): ("only the part that changes", "test_embeddings.py"),
}
# What a model or a family may say about itself, where the default is not true of it.
EXTENSION_POINTS = {
    ("Differentiable", "evidence_kernel"): "families of several variables may be observed in part",
    ("ExponentialFamily", "data_man"): "latents are no data",
    ("ExponentialFamily", "as_observation"): "latents are no data",
    ("ExponentialFamily", "data_of"): "latents are no data",
    ("Harmonium", "data_man"): "labels are data",
    ("Harmonium", "as_observation"): "labels are data",
    ("Harmonium", "data_of"): "labels are data",
    ("Conjugated", "has_closed_form_likelihood"): "models that are made of others ask these",
    ("Conjugated", "is_jointly_gaussian"): "linear Gaussian models are, and hierarchies of them",
    ("Harmonium", "pst_prr_emb"): "the identity, but for models with a restricted posterior",
    ("Differentiable", "is_exact"): "whether `improve` reaches the optimum depends on the parts",
    ("Differentiable", "natural_start"): "the origin is not in every natural domain",
    ("Differentiable", "admits"): "products and mixtures ask each part what its domain demands",
    ("Differentiable", "mask"): "families of vectors and of several variables have finer masks",
    ("VectorFamily", "initialize_from_sample"): "samples may be outside a mean domain not convex",
    ("VectorFamily", "start_near"): "only families of unbounded scale look at the sample",
    ("Structure", "__str__"): "shorter without what follows from the rest",
    ("Structure", "__repr__"): "harmoniums have outlines of their variables",
}
