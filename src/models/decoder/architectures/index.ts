/** Every architecture of decoders, a file each; README.md says how one is added. */
import { checkRecord } from '../../../check';
import type { Architecture, Blueprint } from './architecture';
import { gemma2, gemma3 } from './gemma';
import { gpt2 } from './gpt2';
import { llama, mistral, phi3, qwen2, qwen3 } from './llama';
import { type DecoderConfig, refusal, Settings } from './settings';

const ARCHITECTURES: readonly Architecture[] = [llama, mistral, qwen2, qwen3, gemma2, gemma3, phi3, gpt2];

/** @throws {ParameterError} a setting that is missing, out of range or of a model that is not known, by its name */
export function readConfig(config: DecoderConfig): Blueprint {
  checkRecord('config', config);
  const found = ARCHITECTURES.find(({ name }) => name === config.model_type);
  if (!found)
    throw refusal('model_type', `one of ${ARCHITECTURES.map(({ name }) => name).join(', ')}`, config.model_type);
  const settings = new Settings(config);
  settings.refuse({ quantization_config: null });
  return found.read(settings);
}
