/** Whole models, declared as methods are: decoders, and an encoder of sentences. */
export {
  createDecoder,
  type Decoder,
  type DecoderAttention,
  type DecoderCache,
  type DecoderCacheOptions,
  type DecoderConfig,
  type DecoderControl,
  type DecoderForwardOptions,
  type DecoderLossOptions,
  type DecoderOptions,
  type DecoderStepOptions,
  insertLandmarks,
  type Landmarks,
  type LayerAttention,
} from './decoder';
export { type CreatedModel, defineModel, type Model, type ModelSpec, type Network } from './define';
export * from './language-model';
export type { Load, LoadOptions, WeightNames } from './load';
export { countMultiplications } from './multiplications';
export {
  type AttentionInputs,
  loadUniversalSentenceEncoder,
  type ModelFiles,
  type UniversalSentenceEncoder,
} from './universal-sentence-encoder';
export { universalSentenceEncoder } from './universal-sentence-encoder/model';
export { bevanet } from './vision/bevanet';
export { biformer } from './vision/biformer';
export { deit, type PruningLossOptions, pruningLoss } from './vision/deit';
export { l2vit } from './vision/l2vit';
export { type LogMelOptions, logMel } from './vision/log-mel';
export { resnet } from './vision/resnet';
export { unireplknet } from './vision/unireplknet';
export {
  audioPicture,
  type PointPicturesOptions,
  pointPictures,
  seriesPicture,
  videoPicture,
} from './vision/unireplknet-inputs';
export { van } from './vision/van';
