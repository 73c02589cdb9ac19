/** Changes of scores before the softmax. */
export { from, type ScoreFunction } from './from';
export { additiveBias, alibi, compose, relativeBias, type Score, softcap } from './score';
