import type { Paper } from './paper';

export const paper: Paper = {
  name: 'RetrievalAttention',
  title: 'RetrievalAttention: Accelerating Long-Context LLM Inference via Vector Retrieval',
  authors: 'Liu, Chen, Lu, Jiang, Han, Zhang, Chen, Zhang, Ding, Zhang, Chen, Yang, Yang, Qiu',
  arxiv: '2409.10516',
  family: 'chosen keys',
  order: 's n a token',
  cost: 'quadratic',
  training: 'not needed',
  summary:
    'Old keys wait in an index of nearest neighbours that queries of the prompt have built; each new token fetches the few that it needs.',
  picture: {
    shows: 'The first, the last and the best keys of each query.',
    ink: 'Ink: the weight of a pair. Toy data.',
  },
  problems: [
    'The KV cache is too large for the memory of my GPU: keep it on the CPU.',
    'Approximate nearest-neighbour search over the keys, a vector index.',
    'Each new token needs few of the old keys: retrieve them, without training.',
    'Decode from a context of a hundred thousand tokens on one consumer GPU.',
  ],
  methods: ['retrieval-attention'],
};
