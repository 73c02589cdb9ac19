import { findMethod } from '../methods/registry';
import { decoderModelOf } from './decoder/model';

/** Decoders as a model, with any method of the library by its name. */
export const decoderModel = decoderModelOf(findMethod);
