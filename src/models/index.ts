/** Whole models. */
export {
  createDecoder,
  type Decoder,
  type DecoderAttention,
  type DecoderCache,
  type DecoderCacheOptions,
  type DecoderConfig,
  type DecoderControl,
  type DecoderLossOptions,
  type DecoderOptions,
  type DecoderStepOptions,
  type LayerAttention,
} from './decoder';
export {
  type AttentionInputs,
  loadUniversalSentenceEncoder,
  type ModelFiles,
  type UniversalSentenceEncoder,
} from './universal-sentence-encoder';
