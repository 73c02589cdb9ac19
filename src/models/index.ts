/** Whole models, with trained weights. */
export {
  type AttentionInputs,
  loadUniversalSentenceEncoder,
  type ModelFiles,
  type UniversalSentenceEncoder,
} from './universal-sentence-encoder';
