/** What a language model has done in workers that are ended after a limit of time and memory. */
import { limitWebAssembly, serveCalls } from '../../workers/serve';
import { grammarFunctions } from './grammar-work';
import { templateFunctions } from './template-work';

limitWebAssembly();
serveCalls({ ...grammarFunctions, ...templateFunctions });
