/**
 * The thirty-one papers that the project began with, in the order of the atlas. What of them exists is not said here: it
 * follows from the registries of methods and models.
 */

/** The families in the order of the atlas, each with a sentence that sets it apart. */
export const FAMILIES = {
  'fixed masks': 'Position alone decides which keys a token sees.',
  'chosen keys': 'The data decide: a cheap look first, exact attention to what is worth it.',
  'pruned tokens': 'Whole tokens are dropped, or picked out for a closer look.',
  'linear and recurrent': 'What was seen is summed into a state of fixed size; no pair is ever stored.',
  'local linear': 'Attention as regression: a line fitted around each query, where softmax fits a constant.',
  'large kernels': 'Convolutions wide enough to do the work of attention on images.',
  'kernel methods': 'Random features and kernel regression: their theory and two uses.',
} as const;

export type Family = keyof typeof FAMILIES;

export interface SeedPaper {
  /** Identifies its picture and its place in the list. */
  readonly id: string;
  /** Its name in the list. */
  readonly name: string;
  readonly arxiv: string;
  readonly title: string;
  readonly year: number;
  /** Their names, or their number if that is all we know. */
  readonly authors: string;
  readonly family: Family;
  /** Operations by the number n of tokens, inside O(), or in words. */
  readonly order: string;
  /** How the operations grow with the length. */
  readonly cost: 'linear' | 'between' | 'quadratic' | 'other';
  /** Whether a model must be trained with it; `none` where there is no model. */
  readonly training: 'needed' | 'not needed' | 'either way' | 'none';
  readonly summary: string;
  /** Problems that lead to it, in the words of those who have them: the atlas searches them by meaning. */
  readonly problems: readonly string[];
  /** Names in the registry of methods, present or to come. */
  readonly methods: readonly string[];
  /** Names in the registry of models, present or to come. */
  readonly models?: readonly string[];
  /** Other missing parts of the paper, in words. */
  readonly lacking?: string;
}

const BY_FAMILY: Readonly<Record<Family, readonly Omit<SeedPaper, 'family'>[]>> = {
  'fixed masks': [
    {
      id: 'faster-neighborhood-attention',
      name: 'Neighborhood attention',
      arxiv: '2403.04690',
      title: 'Faster Neighborhood Attention: Reducing the O(n^2) Cost of Self Attention at the Threadblock Level',
      year: 2024,
      authors: 'Hassani, Hwu, Shi',
      order: 'n w',
      cost: 'linear',
      training: 'needed',
      summary:
        'Each token of a line, picture or video attends to the window of tokens nearest to it. Near a border the window is moved in, not cut, so that every token reads equally many.',
      problems: [
        'Local attention over images: each pixel attends to its neighbours.',
        'Sliding-window attention on a video or a volume, in two or three dimensions.',
        'High-resolution pictures make self-attention too slow, and what a pixel needs is near it.',
        'A vision transformer with local windows, like a convolution.',
      ],
      methods: ['neighborhood-attention'],
    },
    {
      id: 'generalized-neighborhood-attention',
      name: 'Generalized neighborhood attention',
      arxiv: '2504.16922',
      title: 'Generalized Neighborhood Attention: Multi-dimensional Sparse Attention at the Speed of Light',
      year: 2025,
      authors: 'Hassani et al.',
      order: 'n w',
      cost: 'linear',
      training: 'not needed',
      summary:
        'Neighbouring queries share one window, so that windows line up with the tiles in which a kernel computes and little work in a tile is wasted.',
      problems: [
        'Make video generation with a diffusion transformer faster, without training it again.',
        'Sliding windows save operations on paper, but the GPU is hardly faster.',
        'A choice between sliding windows and the blocked windows of the Swin transformer.',
        'How large a stride and a tile make sparse local attention fast on hardware?',
      ],
      methods: ['generalized-neighborhood-attention'],
    },
    {
      id: 's2-attention',
      name: 'S2-Attention',
      arxiv: '2407.17678',
      title: 'Efficient LLM Training and Serving with Heterogeneous Context Sharding among Attention Heads',
      year: 2024,
      authors: 'Lin, Zhang, Ge, Ren, Patra, Chaudhary, Peng, Song',
      order: 'n² / stride',
      cost: 'quadratic',
      training: 'needed',
      summary:
        'Every head keeps the blocks nearby and a share of its own of the far ones; together the heads hold the whole context.',
      problems: [
        'The KV cache of a long context does not fit into memory while a language model is served.',
        'Train a language model with sparse attention, where each head keeps another part of the context.',
        'Reduce the memory that keys and values take.',
        'Faster training and serving of large language models with long contexts.',
      ],
      methods: ['s2-attention'],
    },
    {
      id: 'stochastic-attention',
      name: 'Stochastic attention',
      arxiv: '2604.00754',
      title: 'Stochastic Attention: Connectome-Inspired Randomized Routing for Expressive Linear-Time Attention',
      year: 2026,
      authors: 'Jin, Sui',
      order: 'n w',
      cost: 'linear',
      training: 'either way',
      summary:
        'A sliding window over tokens in a random order. A few layers, each shuffled anew, connect every token with every other one; gates can add the ordinary window.',
      problems: [
        'With a sliding window, distant tokens meet only after many layers: reach the whole sequence sooner.',
        'Random connections inspired by the brain of a fly, a small-world network.',
        'Attention in linear time by shuffling the tokens.',
        'Make the receptive field grow faster with depth, at the cost of a sliding window.',
      ],
      methods: ['stochastic-attention'],
    },
    {
      id: 'power-attention',
      name: 'PowerAttention',
      arxiv: '2503.03588',
      title: 'PowerAttention: Exponentially Scaling of Receptive Fields for Effective Sparse Attention',
      year: 2025,
      authors: 'Chen, Xu, An, Wang et al.',
      order: 'n log n',
      cost: 'between',
      training: 'needed',
      summary:
        'A block of tokens sees the blocks nearby, the first one, and those 1, 2, 4, 8 and so on away: a few layers lead anywhere in the past.',
      problems: [
        'My language model loses the beginning of a long text.',
        'A long context of a hundred thousand tokens: early information must still reach the last token.',
        'With sliding-window attention a model forgets what came early.',
        'The receptive field should grow exponentially with the number of layers.',
        'Sparse attention for long contexts that leaves no holes.',
      ],
      methods: ['power-attention'],
    },
    {
      id: 'longca-bench',
      name: 'LongCA-bench',
      arxiv: '2510.17896',
      title: 'Long-Context Attention Benchmark: From Kernel Efficiency to Distributed Context Parallelism',
      year: 2025,
      authors: 'Bu, Wang, Zeng, Sun, Huang, Cao, Xu',
      order: 'area of the mask',
      cost: 'other',
      training: 'none',
      summary:
        'One benchmark for attention kernels under fourteen masks, and for five ways to spread a long sequence over devices. The masks run here as masks of exact attention.',
      problems: [
        'Benchmark: which attention kernel is fastest for my mask and my length?',
        'Compare the speed of attention implementations on one or many GPUs.',
        'Train on sequences too long for one device: context parallelism, ring attention.',
        'Pack many documents into one sequence without attention between them: document masks.',
      ],
      methods: ['attention'],
      lacking: 'the five ways to spread a sequence over devices',
    },
  ],
  'chosen keys': [
    {
      id: 'biformer',
      name: 'BiFormer',
      arxiv: '2303.08810',
      title: 'BiFormer: Vision Transformer with Bi-Level Routing Attention',
      year: 2023,
      authors: 'Zhu, Wang, Ke, Zhang, Lau',
      order: 'n^(4/3)',
      cost: 'between',
      training: 'needed',
      summary:
        'Regions of a picture first find the few regions that are most like them; their tokens then attend exactly, but only within these.',
      problems: [
        'Object detection and image segmentation with a vision transformer that looks only at relevant regions.',
        'Sparse attention on images that depends on their content, where windows are fixed.',
        'A vision backbone with dynamic, query-aware attention.',
        'Choose the most similar regions of an image, then attend within them.',
      ],
      methods: ['bilevel-routing-attention'],
      models: ['biformer'],
    },
    {
      id: 'sale',
      name: 'SALE',
      arxiv: '2505.24179',
      title: 'SALE : Low-bit Estimation for Efficient Sparse Attention in Long-context LLM Prefilling',
      year: 2025,
      authors: 'Ji, Zhang, Fu, Cui',
      order: 'n², 4-bit',
      cost: 'quadratic',
      training: 'not needed',
      summary:
        'Scores every pair of a long prompt in four bits first, then computes exactly only the blocks in which some pair matters.',
      problems: [
        'Reading a long prompt takes too long: speed up prefill.',
        'Skip keys that do not matter at inference, without training.',
        'Long documents make a language model slow to answer.',
        'Estimate attention scores cheaply with low-bit, quantized queries and keys.',
        'Which blocks of the attention matrix can be left out?',
      ],
      methods: ['sale'],
    },
    {
      id: 'deltallm',
      name: 'DeltaLLM',
      arxiv: '2507.19608',
      title: 'DeltaLLM: A Training-Free Framework Exploiting Temporal Sparsity for Efficient Edge LLM Inference',
      year: 2025,
      authors: 'Qi, Gao, Ren, Chen',
      order: 'n²',
      cost: 'quadratic',
      training: 'not needed',
      summary:
        'Keys change little from one token to the next: only what changed is multiplied, and scores are summed up again. Nearby keys stay exact.',
      problems: [
        'Run a language model on a phone or another small edge device.',
        'Save energy and multiplications at inference, without training.',
        'Neighbouring keys are nearly the same: do not multiply them again.',
        'Faster inference on hardware without a large GPU.',
      ],
      methods: ['deltallm'],
    },
    {
      id: 'retrieval-attention',
      name: 'RetrievalAttention',
      arxiv: '2409.10516',
      title: 'RetrievalAttention: Accelerating Long-Context LLM Inference via Vector Retrieval',
      year: 2024,
      authors: 'Liu, Chen, Lu, Jiang, Han, Zhang, Chen, Zhang, Ding, Zhang, Chen, Yang, Yang, Qiu',
      order: 's n a token',
      cost: 'quadratic',
      training: 'not needed',
      summary:
        'Old keys wait in an index of nearest neighbours that queries of the prompt have built; each new token fetches the few that it needs.',
      problems: [
        'The KV cache is too large for the memory of my GPU: keep it on the CPU.',
        'Approximate nearest-neighbour search over the keys, a vector index.',
        'Each new token needs few of the old keys: retrieve them, without training.',
        'Decode from a context of a hundred thousand tokens on one consumer GPU.',
      ],
      methods: ['retrieval-attention'],
    },
    {
      id: 'landmark-attention',
      name: 'Landmark attention',
      arxiv: '2305.16300',
      title: 'Landmark Attention: Random-Access Infinite Context Length for Transformers',
      year: 2023,
      authors: 'Mohtashami, Jaggi',
      order: 'n / l a token',
      cost: 'quadratic',
      training: 'needed',
      summary:
        'One landmark token stands for each block of the past. Attention to the landmark opens its block, so that far text is read only where it is wanted.',
      problems: [
        'My language model forgets what was said early in a long conversation.',
        'Find information anywhere in a long document, an endless text or a book.',
        'A context window much longer than the one a model was trained with.',
        'Access any earlier token of a long context, at random.',
        'A memory of the past for transformers that does not fade.',
      ],
      methods: ['landmark-attention'],
    },
    {
      id: 'sea',
      name: 'SEA',
      arxiv: '2310.01777',
      title: 'SEA: Sparse Linear Attention with Estimated Attention Mask',
      year: 2023,
      authors: 'Lee, Kim, Willette, Hwang',
      order: 'n k',
      cost: 'linear',
      training: 'needed',
      summary:
        'A linear pass guesses a narrow map of where attention would go; exact attention is then computed at its best places only. The guess comes from Performer, which runs here.',
      problems: [
        'Distil a trained transformer into one of linear cost.',
        'Predict which entries of the attention matrix will be large before they are computed.',
        'Linear cost, and the attention map can still be shown and interpreted.',
        'Approximate softmax attention with random features, as the Performer does.',
      ],
      methods: ['performer', 'sea'],
    },
  ],
  'pruned tokens': [
    {
      id: 'as-vit',
      name: 'AS-ViT',
      arxiv: '2209.13802',
      title: 'Adaptive Sparse ViT: Towards Learnable Adaptive Token Pruning by Fully Exploiting Self-Attention',
      year: 2022,
      authors: 'Liu, Wu, Guo',
      order: 'n²',
      cost: 'quadratic',
      training: 'needed',
      summary:
        'Drops the patches that the class token overlooks, as many as learned thresholds say: simple pictures keep fewer.',
      problems: [
        'Token pruning: drop tokens of a vision transformer that do not matter.',
        'My vision transformer is too slow, and many patches show only background.',
        'Easy images should take less computation than difficult ones.',
        'Which image patches can be removed without losing accuracy?',
      ],
      methods: ['adaptive-token-pruning'],
      models: ['deit'],
    },
    {
      id: 'sd-rpn',
      name: 'SD-RPN',
      arxiv: '2509.16944',
      title: 'Catching the Details: Self-Distilled RoI Predictors for Fine-Grained MLLM Perception',
      year: 2025,
      authors: 'Shi, Pei, Dong, Xu',
      order: 'some layers',
      cost: 'other',
      training: 'needed',
      summary:
        "Learns from a model's own attention where in a picture the answer to a question lies, and looks there once more, closer.",
      problems: [
        'A multimodal language model overlooks small details and small text in an image.',
        'Find the region of an image that a question is about, crop it and zoom in.',
        'Visual question answering about high-resolution photographs.',
        "Learn from a model's own attention maps as labels, without annotation.",
      ],
      methods: ['roi-labels', 'roi-boxes'],
    },
    {
      id: 'optiprune',
      name: 'OptiPrune',
      arxiv: '2507.00789',
      title: 'OptiPrune: Boosting Prompt-Image Consistency with Attention-Guided Noise and Dynamic Token Selection',
      year: 2025,
      authors: 'one author',
      order: 'n²',
      cost: 'quadratic',
      training: 'not needed',
      summary:
        'Steers the first noise of a diffusion model until attention finds every subject of the prompt, and skips tokens that are like others nearby.',
      problems: [
        'Text-to-image generation leaves out an object or a subject of the prompt.',
        'The generated image does not match the prompt: two subjects are mixed up.',
        'Make Stable Diffusion faster by merging or pruning similar image tokens.',
        'Image generation guided by attention maps of the subjects.',
      ],
      methods: ['simprune-attention', 'subject-scores'],
    },
  ],
  'linear and recurrent': [
    {
      id: 'lightning-attention',
      name: 'Lightning attention',
      arxiv: '2405.17381',
      title: 'Various Lengths, Constant Speed: Efficient Language Modeling with Lightning Attention',
      year: 2024,
      authors: '6 authors',
      order: 'n d²',
      cost: 'linear',
      training: 'needed',
      summary:
        'The past is one matrix a head that fades at a fixed rate, so that every token costs the same, however long the text.',
      problems: [
        'Linear attention for language models in constant memory.',
        'Train a language model on long sequences as fast as on short ones.',
        'Generate text with a state of fixed size in the place of a KV cache that grows.',
        'The speed of training should not depend on the length of the sequence.',
        'Causal linear attention with exponential decay, like a recurrent network.',
      ],
      methods: ['lightning-attention'],
    },
    {
      id: 'transnormer',
      name: 'TransNormer',
      arxiv: '2210.10340',
      title: 'The Devil in Linear Transformer',
      year: 2022,
      authors: '7 authors',
      order: 'n d²',
      cost: 'linear',
      training: 'needed',
      summary:
        'Linear attention with a norm in the place of its denominator, which made gradients unbounded; early layers attend exactly within blocks.',
      problems: [
        'Training a linear transformer is unstable: it diverges, its gradients explode.',
        'Linear attention dilutes over a long sequence and neglects neighbouring tokens.',
        'What should normalize linear attention in the place of the denominator?',
        'Linear attention is worse than softmax in language modelling: why?',
      ],
      methods: ['transnormer'],
    },
    {
      id: 'l2vit',
      name: 'L2ViT',
      arxiv: '2501.16182',
      title: 'The Linear Attention Resurrection in Vision Transformer',
      year: 2025,
      authors: 'Zheng',
      order: 'n d²',
      cost: 'linear',
      training: 'needed',
      summary:
        'Linear attention over a whole picture, by turns with small windows and with a convolution that sharpens what linear weights blur.',
      problems: [
        'A vision transformer of linear cost for high-resolution images.',
        'Image classification, detection and segmentation with windows and global attention by turns.',
        'Linear attention is less accurate than softmax on images: it is not concentrated enough.',
        'An alternative to the Swin transformer that sees the whole image.',
      ],
      methods: ['l2vit'],
      models: ['l2vit'],
    },
    {
      id: 'dydila',
      name: 'DyDiLA',
      arxiv: '2601.13683',
      title:
        'Dynamic Differential Linear Attention: Enhancing Linear Diffusion Transformer for High-Quality Image Generation',
      year: 2026,
      authors: 'Cao, Yao, Wang, Ye, Wei, Shan',
      order: 'n d²',
      cost: 'linear',
      training: 'needed',
      summary:
        'Linear attention for diffusion models, sharpened by powers that each token picks, less what all queries and keys have in common.',
      problems: [
        'High-resolution image generation with a linear diffusion transformer.',
        'Generating images with a diffusion transformer is too slow.',
        'Linear attention over-smooths: all weights look alike and images get blurred.',
        'Differential attention: subtract what all tokens have in common.',
      ],
      methods: ['dydila'],
    },
    {
      id: 'nats-linear',
      name: 'NAtS-L',
      arxiv: '2602.03681',
      title: 'Neural Attention Search Linear: Towards Adaptive Token-Level Hybrid Attention Models',
      year: 2026,
      authors: 'Deng, Winje, Fehring, Lindauer',
      order: 'f n²',
      cost: 'quadratic',
      training: 'needed',
      summary:
        'A router sends each chunk of tokens either to exact attention or into a state that a gated delta rule keeps; every query reads both.',
      problems: [
        'A hybrid model of softmax attention and a recurrent layer or state space model.',
        'Some tokens must be recalled exactly, the rest can be compressed into a state.',
        'Mix linear attention with full attention, chosen for each token.',
        'A recurrent memory that overwrites old values: the delta rule, DeltaNet, Mamba.',
        'Long contexts with less memory, without losing what must be looked up.',
      ],
      methods: ['nats-linear', 'gated-delta-rule'],
    },
    {
      id: 'c3d-ad',
      name: 'C3D-AD',
      arxiv: '2508.01311',
      title: 'C3D-AD: Toward Continual 3D Anomaly Detection via Kernel Attention with Learnable Advisor',
      year: 2025,
      authors: 'Lu, Liang, Zhang, Hu, Wang, Gao',
      order: 'n m',
      cost: 'linear',
      training: 'needed',
      summary:
        'Finds defects in point clouds with attention over a few random features, and with a memory that learns new kinds of objects task by task.',
      problems: [
        'Detect anomalies and defects in point clouds, 3D scans of industrial products.',
        'Continual learning of new kinds of objects, without forgetting the old ones.',
        'Quality inspection in a factory.',
        'Attention with few random features for thousands of points.',
      ],
      methods: ['kernel-attention', 'point-groups'],
    },
  ],
  'local linear': [
    {
      id: 'local-linear-attention',
      name: 'Local linear attention',
      arxiv: '2510.01450',
      title:
        'Local Linear Attention: An Optimal Interpolation of Linear and Softmax Attention For Test-Time Regression',
      year: 2025,
      authors: 'Zuo, Yin, Zeng, Li, Zhu, Wang',
      order: 'n² d',
      cost: 'quadratic',
      training: 'needed',
      summary:
        'Attention as regression: it fits a line around each query where softmax fits a constant. That costs more and errs less where keys end.',
      problems: [
        'In-context learning and associative recall that is better than softmax attention.',
        'Attention as regression at test time, a local linear fit.',
        'More accurate attention, even if it costs more computation.',
        'Bias and variance of attention as a kernel smoother.',
      ],
      methods: ['local-linear-attention'],
    },
    {
      id: 'parallax',
      name: 'Parallax',
      arxiv: '2605.29157',
      title: 'Parallax: Parameterized Local Linear Attention for Language Modeling',
      year: 2026,
      authors: 'Zuo, Pai, Zeng, Dewulf, Hu, Wang',
      order: 'n²',
      cost: 'quadratic',
      training: 'needed',
      summary:
        'Local linear attention in which a learned probe takes the place of the solver: softmax with a correction, at about twice the work.',
      problems: [
        'A better language model with the same number of parameters: improve softmax attention itself.',
        'Pretraining large language models with a stronger attention.',
        'Decoding is limited by memory bandwidth: use the idle arithmetic.',
        'A correction to softmax attention that is learned.',
      ],
      methods: ['parallax'],
    },
  ],
  'large kernels': [
    {
      id: 'van',
      name: 'VAN',
      arxiv: '2202.09741',
      title: 'Visual Attention Network',
      year: 2022,
      authors: 'Guo, Lu, Liu, Cheng, Hu',
      order: 'n',
      cost: 'linear',
      training: 'needed',
      summary:
        'A large convolution, made of three cheap ones, gates its own input. There are no queries, keys or pairs.',
      problems: [
        'A convolutional backbone for images in the place of self-attention.',
        'Image classification, object detection and segmentation without a transformer.',
        'Long-range dependencies in images by large convolutions at linear cost.',
        'An attention mechanism for vision without queries and keys.',
      ],
      methods: ['large-kernel-attention'],
      models: ['van'],
    },
    {
      id: 'bevanet',
      name: 'BEVANet',
      arxiv: '2508.07300',
      title: 'BEVANet: Bilateral Efficient Visual Attention Network for Real-Time Semantic Segmentation',
      year: 2025,
      authors: '5 authors',
      order: 'n',
      cost: 'linear',
      training: 'needed',
      summary:
        'Dilated strips across and down a picture, weighed anew at each place, in a network of two branches that segments street scenes in real time.',
      problems: [
        'Semantic segmentation of road scenes in real time.',
        'Autonomous driving: segment the street at many frames a second.',
        'Segmentation with sharp boundaries on an embedded GPU.',
        'A fast two-branch network for dense prediction.',
      ],
      methods: ['sdlska'],
      models: ['bevanet'],
    },
    {
      id: 'unireplknet',
      name: 'UniRepLKNet',
      arxiv: '2311.15599',
      title:
        'UniRepLKNet: A Universal Perception Large-Kernel ConvNet for Audio, Video, Point Cloud, Time-Series and Image Recognition',
      year: 2023,
      authors: 'Ding, Zhang, Ge, Zhao, Song, Yue, Shan',
      order: 'n K²',
      cost: 'linear',
      training: 'needed',
      summary:
        'Trains large kernels beside dilated small ones, which fold into one kernel once training is over. One network sees, hears and forecasts.',
      problems: [
        'One convolutional network for images, audio, video, point clouds and time series.',
        'Time series forecasting, such as the weather.',
        'Audio and speech recognition with a convolutional network.',
        'Structural re-parameterization: fold parallel convolutions into one for inference.',
      ],
      methods: ['dilated-reparam-conv'],
      models: ['unireplknet'],
    },
    {
      id: 'scaling-up-your-kernels',
      name: 'Scaling Up Your Kernels',
      arxiv: '2410.08049',
      title: 'Scaling Up Your Kernels: Large Kernel Design in ConvNets towards Universal Representations',
      year: 2024,
      authors: 'Zhang, Ding, Yue',
      order: 'n K²',
      cost: 'linear',
      training: 'needed',
      summary:
        'Rules by which few large kernels do better than many small ones, and a convolution that lets one modality be the kernel over another.',
      problems: [
        'Design a convolutional network with very large kernels, as an alternative to transformers.',
        'How large should convolution kernels be?',
        'Fuse text, audio or video into image features by convolution.',
        'Multimodal learning with convolutional networks.',
      ],
      methods: ['asymmetric-conv-fusion'],
    },
  ],
  'kernel methods': [
    {
      id: 'random-feature-attention',
      name: 'Random-feature attention',
      arxiv: '2307.11353',
      title: 'What can a Single Attention Layer Learn? A Study Through the Random Features Lens',
      year: 2023,
      authors: 'Fu, Guo, Bai, Mei',
      order: 'one solve',
      cost: 'other',
      training: 'needed',
      summary:
        'What one layer of attention can learn while its queries and keys stay random: functions that average over keys, from few samples.',
      problems: [
        'Theory of attention: what can a layer learn, and from how many samples?',
        'Generalization bounds and sample complexity of transformers.',
        'Attention with random, frozen queries and keys.',
        'Does attention learn better than a fully connected network?',
      ],
      methods: ['random-feature-attention'],
    },
    {
      id: 'snnk',
      name: 'SNNK',
      arxiv: '2310.13225',
      title: 'Scalable Neural Network Kernels',
      year: 2023,
      authors: 'Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov',
      order: 'm (d + l)',
      cost: 'other',
      training: 'needed',
      summary:
        'Splits a layer into a map of its inputs and a map of its weights that meet in one dot product, by random features of its activation.',
      problems: [
        'Compress the feed-forward layers of a network, its MLP.',
        'Parameter-efficient fine-tuning with small adapters.',
        'Replace a fully connected layer by random features of a kernel.',
        'Approximate an activation function by a dot product.',
      ],
      methods: ['snnk'],
    },
    {
      id: 'more-is-better',
      name: 'More is Better',
      arxiv: '2311.14646',
      title:
        'More is Better in Modern Machine Learning: when Infinite Overparameterization is Optimal and Overfitting is Obligatory',
      year: 2023,
      authors: 'Simon, Karkada, Ghosh, Belkin',
      order: 'closed form',
      cost: 'other',
      training: 'none',
      summary:
        'A formula for the risk of regression on random features. With the ridge at its best, more features and more samples never hurt.',
      problems: [
        'Do more parameters and more data always help? Overparameterization and overfitting in theory.',
        'Double descent, benign overfitting and the optimal ridge.',
        'Predict the test error of kernel regression before training.',
        'Scaling laws of model size and data.',
      ],
      methods: ['random-feature-risk'],
    },
    {
      id: 'generative-kernel-continual-learning',
      name: 'Generative kernel continual learning',
      arxiv: '2112.13410',
      title: 'Generative Kernel Continual learning',
      year: 2021,
      authors: 'Derakhshani, Zhen, Shao, Snoek',
      order: 'one solve a task',
      cost: 'other',
      training: 'needed',
      summary:
        'A generative model recalls samples of earlier tasks, from which kernel machines are fitted, so that no sample need be kept.',
      problems: [
        'Continual learning: one task after another without catastrophic forgetting.',
        'Learn new classes without storing old samples in a replay buffer.',
        'A generative model, a variational autoencoder, replays earlier tasks.',
        'Classification with kernel ridge regression for each task.',
      ],
      methods: ['kernel-ridge'],
    },
  ],
};

export const papers: readonly SeedPaper[] = Object.entries(BY_FAMILY).flatMap(([family, list]) =>
  list.map((paper) => ({ ...paper, family: family as Family })),
);
