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
  readonly arxiv: string;
  readonly title: string;
  readonly year: number;
  readonly authors?: string;
  readonly family: Family;
  /** Operations by the number n of tokens, inside O(), or in words. */
  readonly order: string;
  /** How the operations grow with the length. */
  readonly cost: 'linear' | 'between' | 'quadratic' | 'other';
  /** Whether a model must be trained with it; `none` where there is no model. */
  readonly training: 'needed' | 'not needed' | 'either way' | 'none';
  readonly summary: string;
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
    methods: ['neighborhood-attention'],
  },
  {
    id: 'generalized-neighborhood-attention',
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
    methods: ['generalized-neighborhood-attention'],
  },
  {
    id: 's2-attention',
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
    methods: ['s2-attention'],
  },
  {
    id: 'stochastic-attention',
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
    methods: ['stochastic-attention'],
  },
  {
    id: 'power-attention',
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
    methods: ['power-attention'],
  },
  {
    id: 'longca-bench',
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
    methods: ['attention'],
    lacking: 'the five ways to spread a sequence over devices',
  },
  {
    id: 'biformer',
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
    methods: ['bilevel-routing-attention'],
    models: ['biformer'],
  },
  {
    id: 'sale',
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
    methods: ['sale'],
  },
  {
    id: 'deltallm',
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
    methods: ['deltallm'],
  },
  {
    id: 'retrieval-attention',
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
    methods: ['retrieval-attention'],
  },
  {
    id: 'landmark-attention',
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
    methods: ['landmark-attention'],
  },
  {
    id: 'sea',
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
    methods: ['performer', 'sea'],
  },
  {
    id: 'as-vit',
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
    methods: ['adaptive-token-pruning'],
    models: ['deit'],
  },
  {
    id: 'sd-rpn',
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
    methods: ['roi-labels', 'roi-boxes'],
  },
  {
    id: 'optiprune',
    arxiv: '2507.00789',
    title: 'OptiPrune: Boosting Prompt-Image Consistency with Attention-Guided Noise and Dynamic Token Selection',
    year: 2025,
    family: 'pruned tokens',
    order: 'n²',
    cost: 'quadratic',
    training: 'not needed',
    summary:
      'Steers the first noise of a diffusion model until attention finds every subject of the prompt, and skips tokens that are like others nearby.',
    methods: ['simprune-attention', 'subject-scores'],
  },
  {
    id: 'lightning-attention',
    arxiv: '2405.17381',
    title: 'Various Lengths, Constant Speed: Efficient Language Modeling with Lightning Attention',
    year: 2024,
    family: 'linear and recurrent',
    order: 'n d²',
    cost: 'linear',
    training: 'needed',
    summary:
      'The past is one matrix a head that fades at a fixed rate, so that every token costs the same, however long the text.',
    methods: ['lightning-attention'],
  },
  {
    id: 'transnormer',
    arxiv: '2210.10340',
    title: 'The Devil in Linear Transformer',
    year: 2022,
    family: 'linear and recurrent',
    order: 'n d²',
    cost: 'linear',
    training: 'needed',
    summary:
      'Linear attention with a norm in the place of its denominator, which made gradients unbounded; early layers attend exactly within blocks.',
    methods: ['transnormer'],
  },
  {
    id: 'l2vit',
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
    methods: ['l2vit'],
    models: ['l2vit'],
  },
  {
    id: 'dydila',
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
    methods: ['dydila'],
  },
  {
    id: 'nats-linear',
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
    methods: ['nats-linear', 'gated-delta-rule'],
  },
  {
    id: 'c3d-ad',
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
    methods: ['kernel-attention', 'point-groups'],
  },
  {
    id: 'local-linear-attention',
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
    methods: ['local-linear-attention'],
  },
  {
    id: 'parallax',
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
    methods: ['parallax'],
  },
  {
    id: 'van',
    arxiv: '2202.09741',
    title: 'Visual Attention Network',
    year: 2022,
    authors: 'Guo, Lu, Liu, Cheng, Hu',
    family: 'large kernels',
    order: 'n',
    cost: 'linear',
    training: 'needed',
    summary: 'A large convolution, made of three cheap ones, gates its own input. There are no queries, keys or pairs.',
    methods: ['large-kernel-attention'],
    models: ['van'],
  },
  {
    id: 'bevanet',
    arxiv: '2508.07300',
    title: 'BEVANet: Bilateral Efficient Visual Attention Network for Real-Time Semantic Segmentation',
    year: 2025,
    family: 'large kernels',
    order: 'n',
    cost: 'linear',
    training: 'needed',
    summary:
      'Dilated strips across and down a picture, weighed anew at each place, in a network of two branches that segments street scenes in real time.',
    methods: ['sdlska'],
    models: ['bevanet'],
  },
  {
    id: 'unireplknet',
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
    methods: ['dilated-reparam-conv'],
    models: ['unireplknet'],
  },
  {
    id: 'scaling-up-your-kernels',
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
    methods: ['asymmetric-conv-fusion'],
  },
  {
    id: 'random-feature-attention',
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
    methods: ['random-feature-attention'],
  },
  {
    id: 'snnk',
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
    methods: ['snnk'],
  },
  {
    id: 'more-is-better',
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
    methods: ['random-feature-risk'],
  },
  {
    id: 'generative-kernel-continual-learning',
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
    methods: ['kernel-ridge'],
  },
];
