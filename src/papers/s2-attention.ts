import type { Paper } from './paper';

export const paper: Paper = {
  name: 'S2-Attention',
  title: 'Efficient LLM Training and Serving with Heterogeneous Context Sharding among Attention Heads',
  authors: 'Lin, Zhang, Ge, Ren, Patra, Chaudhary, Peng, Song',
  arxiv: '2407.17678',
  family: 'fixed masks',
  order: 'n² / stride',
  cost: 'quadratic',
  training: 'needed',
  summary:
    'Every head keeps the blocks nearby and a share of its own of the far ones; together the heads hold the whole context.',
  picture: {
    shows: 'Four heads, blocks of 2, stride 4.',
    ink: 'Full ink: what one head sees. Fainter: what the others see.',
  },
  problems: [
    'The KV cache of a long context does not fit into memory while a language model is served.',
    'Train a language model with sparse attention, where each head keeps another part of the context.',
    'Reduce the memory that keys and values take.',
    'Faster training and serving of large language models with long contexts.',
  ],
  methods: ['s2-attention'],
};
