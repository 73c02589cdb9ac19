/**
 * The thirty-one papers that the project began with, in the order of the atlas. What of them exists is not said here: it
 * follows from the registries of methods and models.
 */

/** The families in the order of the atlas, each with the sentence that tells it from the others. */
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
  /** Of its picture and its place in the list. */
  readonly id: string;
  /** What the list calls it. */
  readonly name: string;
  readonly arxiv: string;
  readonly title: string;
  readonly year: number;
  /** Their names, or how many there are where that is all we know. */
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
  /** What else of the paper is missing, in words. */
  readonly lacking?: string;
}

export const papers: readonly SeedPaper[] = [
  {
    id: 'faster-neighborhood-attention',
    name: 'Neighborhood attention',
    arxiv: '2403.04690',
    title: 'Faster Neighborhood Attention: Reducing the O(n^2) Cost of Self Attention at the Threadblock Level',
    year: 2024,
    authors: 'Hassani, Hwu, Shi',
    family: 'fixed masks',
    order: 'n w',
    cost: 'linear',
    training: 'needed',
    summary:
      'Each token of a line, picture or video attends to the window of tokens nearest to it. Near a border the window is moved in, not cut, so that every token reads equally many.',
    problems: [
      'A high-resolution picture or a video makes attention too slow, and what a pixel needs is near it.',
      'A sliding window over two or three dimensions, local as a convolution.',
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
    family: 'fixed masks',
    order: 'n w',
    cost: 'linear',
    training: 'not needed',
    summary:
      'Neighbouring queries share one window, so that windows line up with the tiles in which a kernel computes and little work in a tile is wasted.',
    problems: [
      'A sliding window saves operations on paper, but the GPU is hardly faster, since it computes whole tiles.',
      'A diffusion transformer takes too long to generate a video, and shall not be trained again.',
      'Anything between sliding windows and the fixed windows of Swin.',
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
    family: 'fixed masks',
    order: 'n² / stride',
    cost: 'quadratic',
    training: 'needed',
    summary:
      'Every head keeps the blocks nearby and a share of its own of the far ones; together the heads hold the whole context.',
    problems: [
      'Serving a long context, the cache of keys and values does not fit into memory.',
      'A language model is to be trained with sparse attention, each head on another part of the context.',
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
    family: 'fixed masks',
    order: 'n w',
    cost: 'linear',
    training: 'either way',
    summary:
      'A sliding window over tokens in a random order. A few layers, each shuffled anew, connect every token with every other one; gates can add the ordinary window.',
    problems: [
      'With a sliding window, distant tokens meet only after many layers.',
      'Random connections, as between neurons of a brain, give every token the whole sequence in linear time.',
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
    family: 'fixed masks',
    order: 'n log n',
    cost: 'between',
    training: 'needed',
    summary:
      'A block of tokens sees the blocks nearby, the first one, and those 1, 2, 4, 8 and so on away: a few layers lead anywhere in the past.',
    problems: [
      'With a sliding window a language model loses what stood at the beginning of a long text.',
      'Information from anywhere in a long context must reach the last token within a few layers.',
      'Sparse attention for very long contexts, without holes.',
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
    family: 'fixed masks',
    order: 'area of the mask',
    cost: 'other',
    training: 'none',
    summary:
      'One benchmark for attention kernels under fourteen masks, and for five ways to spread a long sequence over devices. The masks run here as masks of exact attention.',
    problems: [
      'Which attention kernel is fastest for a mask and a length?',
      'A sequence of many documents, packed together, must not attend across their borders.',
      'Training on a sequence too long for one GPU, spread over several.',
    ],
    methods: ['attention'],
    lacking: 'the five ways to spread a sequence over devices',
  },
  {
    id: 'biformer',
    name: 'BiFormer',
    arxiv: '2303.08810',
    title: 'BiFormer: Vision Transformer with Bi-Level Routing Attention',
    year: 2023,
    authors: 'Zhu, Wang, Ke, Zhang, Lau',
    family: 'chosen keys',
    order: 'n^(4/3)',
    cost: 'between',
    training: 'needed',
    summary:
      'Regions of a picture first find the few regions that are most like them; their tokens then attend exactly, but only within these.',
    problems: [
      'Detecting and segmenting objects with a vision transformer that looks only at the regions that matter.',
      'Sparse attention on images that follows their content, where windows are fixed.',
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
    family: 'chosen keys',
    order: 'n², 4-bit',
    cost: 'quadratic',
    training: 'not needed',
    summary:
      'Scores every pair of a long prompt in four bits first, then computes exactly only the blocks in which some pair matters.',
    problems: [
      'Reading a long prompt takes too long before the first word is answered.',
      'At inference most keys matter little: skip them, without training.',
      'Estimate attention scores cheaply, from quantized queries and keys.',
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
    family: 'chosen keys',
    order: 'n²',
    cost: 'quadratic',
    training: 'not needed',
    summary:
      'Keys change little from one token to the next: only what changed is multiplied, and scores are summed up again. Nearby keys stay exact.',
    problems: [
      'A language model is to run on a phone or another small device.',
      'Neighbouring keys are nearly the same, and are multiplied again and again.',
      'Fewer multiplications at inference, without training.',
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
    family: 'chosen keys',
    order: 's n a token',
    cost: 'quadratic',
    training: 'not needed',
    summary:
      'Old keys wait in an index of nearest neighbours that queries of the prompt have built; each new token fetches the few that it needs.',
    problems: [
      "Generating text from a very long context, the keys and values do not fit into the GPU's memory.",
      'Each new token needs few of the old keys: find them by vector search, without training.',
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
    family: 'chosen keys',
    order: 'n / l a token',
    cost: 'quadratic',
    training: 'needed',
    summary:
      'One landmark token stands for each block of the past. Attention to the landmark opens its block, so that far text is read only where it is wanted.',
    problems: [
      'A language model forgets what was said long ago, since its context is too short.',
      'Look up passages from anywhere in an endless text, a book or a conversation.',
      'A context many times longer than the one a model was trained with.',
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
    family: 'chosen keys',
    order: 'n k',
    cost: 'linear',
    training: 'needed',
    summary:
      'A linear pass guesses a narrow map of where attention would go; exact attention is then computed at its best places only. The guess comes from Performer, which runs here.',
    problems: [
      'A trained transformer costs too much on long inputs and shall be made linear by distillation.',
      'Guess which entries of the attention matrix will be large before they are computed, and still show the attention map.',
    ],
    methods: ['performer', 'sea'],
  },
  {
    id: 'as-vit',
    name: 'AS-ViT',
    arxiv: '2209.13802',
    title: 'Adaptive Sparse ViT: Towards Learnable Adaptive Token Pruning by Fully Exploiting Self-Attention',
    year: 2022,
    authors: 'Liu, Wu, Guo',
    family: 'pruned tokens',
    order: 'n²',
    cost: 'quadratic',
    training: 'needed',
    summary:
      'Drops the patches that the class token overlooks, as many as learned thresholds say: simple pictures keep fewer.',
    problems: [
      'A vision transformer is too slow, and many patches show only background: drop them.',
      'Easy images should take less computation than difficult ones.',
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
    family: 'pruned tokens',
    order: 'some layers',
    cost: 'other',
    training: 'needed',
    summary:
      "Learns from a model's own attention where in a picture the answer to a question lies, and looks there once more, closer.",
    problems: [
      'A multimodal language model overlooks small details in a large picture.',
      'Find the region of an image that a question is about, and zoom in.',
      'Cross-attention maps of a model as labels, without annotation.',
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
    family: 'pruned tokens',
    order: 'n²',
    cost: 'quadratic',
    training: 'not needed',
    summary:
      'Steers the first noise of a diffusion model until attention finds every subject of the prompt, and skips tokens that are like others nearby.',
    problems: [
      'Text-to-image generation leaves out a subject of the prompt, or mixes two up.',
      'Stable Diffusion is slow: many tokens of the image are alike.',
      'Attention maps of the subjects of a prompt guide the image that is generated.',
    ],
    methods: ['simprune-attention', 'subject-scores'],
  },
  {
    id: 'lightning-attention',
    name: 'Lightning attention',
    arxiv: '2405.17381',
    title: 'Various Lengths, Constant Speed: Efficient Language Modeling with Lightning Attention',
    year: 2024,
    authors: '6 authors',
    family: 'linear and recurrent',
    order: 'n d²',
    cost: 'linear',
    training: 'needed',
    summary:
      'The past is one matrix a head that fades at a fixed rate, so that every token costs the same, however long the text.',
    problems: [
      'Training a language model should be as fast on long sequences as on short ones.',
      'Generating text in constant memory: a state in the place of a cache that grows.',
      'Linear attention with decay, causal.',
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
    family: 'linear and recurrent',
    order: 'n d²',
    cost: 'linear',
    training: 'needed',
    summary:
      'Linear attention with a norm in the place of its denominator, which made gradients unbounded; early layers attend exactly within blocks.',
    problems: [
      'Training with linear attention is unstable: gradients explode.',
      'Linear attention dilutes over a long sequence and neglects what is near.',
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
    family: 'linear and recurrent',
    order: 'n d²',
    cost: 'linear',
    training: 'needed',
    summary:
      'Linear attention over a whole picture, by turns with small windows and with a convolution that sharpens what linear weights blur.',
    problems: [
      'A backbone for high-resolution images that sees the whole picture at linear cost.',
      'Linear attention is less accurate than softmax on images: it is not sharp enough.',
      'Image classification and segmentation, windows by turns with global attention.',
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
    family: 'linear and recurrent',
    order: 'n d²',
    cost: 'linear',
    training: 'needed',
    summary:
      'Linear attention for diffusion models, sharpened by powers that each token picks, less what all queries and keys have in common.',
    problems: [
      'Generating images with a diffusion transformer is too slow at high resolution.',
      'Linear attention over-smooths: all its weights look the same.',
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
    family: 'linear and recurrent',
    order: 'f n²',
    cost: 'quadratic',
    training: 'needed',
    summary:
      'A router sends each chunk of tokens either to exact attention or into a state that a gated delta rule keeps; every query reads both.',
    problems: [
      'Some tokens of a long context must be recalled exactly, the rest can be compressed.',
      'A hybrid of softmax attention and a recurrent layer that learns which token needs which.',
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
    family: 'linear and recurrent',
    order: 'n m',
    cost: 'linear',
    training: 'needed',
    summary:
      'Finds defects in point clouds with attention over a few random features, and with a memory that learns new kinds of objects task by task.',
    problems: [
      'Detect defects of industrial products in 3D scans.',
      'New classes of objects come over time, and old ones must not be forgotten.',
    ],
    methods: ['kernel-attention', 'point-groups'],
  },
  {
    id: 'local-linear-attention',
    name: 'Local linear attention',
    arxiv: '2510.01450',
    title: 'Local Linear Attention: An Optimal Interpolation of Linear and Softmax Attention For Test-Time Regression',
    year: 2025,
    authors: 'Zuo, Yin, Zeng, Li, Zhu, Wang',
    family: 'local linear',
    order: 'n² d',
    cost: 'quadratic',
    training: 'needed',
    summary:
      'Attention as regression: it fits a line around each query where softmax fits a constant. That costs more and errs less where keys end.',
    problems: [
      'Learning in context: attention should be better at regression and at associative recall than softmax.',
      'More accurate attention, even at a higher cost.',
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
    family: 'local linear',
    order: 'n²',
    cost: 'quadratic',
    training: 'needed',
    summary:
      'Local linear attention in which a learned probe takes the place of the solver: softmax with a correction, at about twice the work.',
    problems: [
      'A language model should become better with the same parameters, by improving softmax attention itself.',
      'Decoding waits for memory, so that more arithmetic for each key is free.',
    ],
    methods: ['parallax'],
  },
  {
    id: 'van',
    name: 'VAN',
    arxiv: '2202.09741',
    title: 'Visual Attention Network',
    year: 2022,
    authors: 'Guo, Lu, Liu, Cheng, Hu',
    family: 'large kernels',
    order: 'n',
    cost: 'linear',
    training: 'needed',
    summary: 'A large convolution, made of three cheap ones, gates its own input. There are no queries, keys or pairs.',
    problems: [
      'A convolutional backbone for image classification and segmentation in the place of self-attention.',
      'Long-range dependencies in images without queries and keys.',
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
    family: 'large kernels',
    order: 'n',
    cost: 'linear',
    training: 'needed',
    summary:
      'Dilated strips across and down a picture, weighed anew at each place, in a network of two branches that segments street scenes in real time.',
    problems: [
      'Segment street scenes in real time, as a car that drives itself must.',
      'Semantic segmentation with sharp contours at many frames a second.',
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
    family: 'large kernels',
    order: 'n K²',
    cost: 'linear',
    training: 'needed',
    summary:
      'Trains large kernels beside dilated small ones, which fold into one kernel once training is over. One network sees, hears and forecasts.',
    problems: [
      'One architecture for images, audio, video, point clouds and time series.',
      'Branches that help in training are merged into one convolution for inference.',
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
    family: 'large kernels',
    order: 'n K²',
    cost: 'linear',
    training: 'needed',
    summary:
      'Rules by which few large kernels do better than many small ones, and a convolution that lets one modality be the kernel over another.',
    problems: [
      'How to design a convolutional network with very large kernels that competes with transformers.',
      'Fuse text, audio or video into image features by convolution.',
    ],
    methods: ['asymmetric-conv-fusion'],
  },
  {
    id: 'random-feature-attention',
    name: 'Random-feature attention',
    arxiv: '2307.11353',
    title: 'What can a Single Attention Layer Learn? A Study Through the Random Features Lens',
    year: 2023,
    authors: 'Fu, Guo, Bai, Mei',
    family: 'kernel methods',
    order: 'one solve',
    cost: 'other',
    training: 'needed',
    summary:
      'What one layer of attention can learn while its queries and keys stay random: functions that average over keys, from few samples.',
    problems: [
      'What can attention learn in theory, and from how many samples?',
      'Generalization bounds for a layer whose queries and keys are random and frozen.',
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
    family: 'kernel methods',
    order: 'm (d + l)',
    cost: 'other',
    training: 'needed',
    summary:
      'Splits a layer into a map of its inputs and a map of its weights that meet in one dot product, by random features of its activation.',
    problems: [
      'Make the feed-forward layers of a network smaller, or fine-tune it by small adapters.',
      "Approximate a layer's activation by random features.",
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
    family: 'kernel methods',
    order: 'closed form',
    cost: 'other',
    training: 'none',
    summary:
      'A formula for the risk of regression on random features. With the ridge at its best, more features and more samples never hurt.',
    problems: [
      'Do more parameters and more data always help? Overfitting and the ridge that is best.',
      'Predict the test error of kernel regression before anything is trained.',
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
    family: 'kernel methods',
    order: 'one solve a task',
    cost: 'other',
    training: 'needed',
    summary:
      'A generative model recalls samples of earlier tasks, from which kernel machines are fitted, so that no sample need be kept.',
    problems: ['Learn one task after another without forgetting the earlier ones and without storing their samples.'],
    methods: ['kernel-ridge'],
  },
];
