/** The reference backend: plain loops in float64 over memory of its own. Slow on purpose. */
import { BackendError } from '../../errors';
import { toFloat64 } from '../../tensor/host';
import type {
  AttentionCall,
  Backend,
  BinaryCall,
  Buffer,
  GatherCall,
  LayerNormCall,
  MatmulCall,
  MemoryReport,
  UnaryCall,
} from '../backend';
import { softmaxAttention } from './attention';
