/** The files of the default model, which lie beside this module. */
import { assetFiles } from '../io/asset';
import { checkControl } from '../ops/check';
import type { Control } from '../runtime/backend';

const FILES: Readonly<Record<string, () => URL>> = {
  'config.json': () => new URL('./config.json', import.meta.url),
  'tokenizer.json': () => new URL('./tokenizer.json', import.meta.url),
  'model.safetensors': () => new URL('./model.safetensors', import.meta.url),
};

/** As of a folder. @throws {ParameterError} files that cannot be had */
export function defaultModelFiles(control: Pick<Control, 'signal'> = {}): Promise<File[]> {
  checkControl(control);
  return assetFiles('the default model', FILES, control.signal);
}
