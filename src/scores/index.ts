/** What changes scores before the softmax. */
export { additiveBias, alibi, compose, from, relativeBias, type Score, type ScoreFunction, softcap } from './score';
