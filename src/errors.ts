import { printable } from './text/printable';

/** The base of all errors; messages name the argument, what was expected and what came. */
export class SaccadeError extends Error {
  override name = 'SaccadeError';

  constructor(message?: string, options?: ErrorOptions) {
    super(printable(message ?? ''), options);
  }
}

/** A shape, rank, axis or index that does not fit. */
export class ShapeError extends SaccadeError {
  override name = 'ShapeError';
}

/** A dtype that an operation cannot take. */
export class DTypeError extends SaccadeError {
  override name = 'DTypeError';
}

/** An option or method parameter that is unknown, ill-typed or out of range. */
export class ParameterError extends SaccadeError {
  override name = 'ParameterError';
}

/** A file that breaks its format. */
export class ParseError extends SaccadeError {
  override name = 'ParseError';
}

/** Something that the backend, platform or method does not support; the message says what to do. */
export class UnsupportedError extends SaccadeError {
  override name = 'UnsupportedError';
}

/** A backend that failed while working: out of memory, a worker that died, a kernel that trapped. */
export class BackendError extends SaccadeError {
  override name = 'BackendError';
}

/** A tensor, scope or runtime used after it was disposed. */
export class DisposedError extends SaccadeError {
  override name = 'DisposedError';
}
