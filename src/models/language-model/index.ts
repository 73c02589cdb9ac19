export { type CalibrateOptions, type CalibrationFile, calibrate } from './calibration';
export { type ChatMessage, type ChatTemplate, chatTemplate } from './chat-template';
export type { GenerateOptions, Generation, GenerationResult, Piece, Prompt } from './generation';
export type { AnswerFormat } from './grammar';
export {
  type LanguageModel,
  type LanguageModelOptions,
  languageModel,
  type Perplexity,
  type PerplexityOptions,
} from './language-model';
export { type LoadDecoderOptions, loadDecoder } from './load';
export type { Choice, SamplingOptions } from './sampling';
export { type LanguageTokenizer, languageTokenizer, type TokenizerFiles } from './tokenizer';
