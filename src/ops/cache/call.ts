import type { Tensor } from '../../tensor/tensor';
import type { Page, PageLayout } from './layout';

/** Tokens of k [b,n,heads,d] and v [b,n,heads,e], floats of any strides, into pages. */
export interface AppendCall {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly layout: PageLayout;
  readonly writes: readonly {
    /** `count` tokens of a batch, from `token` on. */
    readonly batch: number;
    readonly token: number;
    readonly count: number;
    readonly page: Page;
    /** The row of the page that the first goes to. */
    readonly row: number;
  }[];
}

/** Pages into others that take their place, since they are shared and one of the rows is to write; their first tokens count. */
export interface CopyPagesCall {
  readonly layout: PageLayout;
  readonly copies: readonly { readonly from: Page; readonly to: Page; readonly tokens: number }[];
}

/** Pages of a row, one behind the other, to k [1,m,heads,d] and v [1,m,heads,e], f32; zeros for those that are gone. */
export interface ReadCall {
  readonly layout: PageLayout;
  readonly pages: readonly (Page | undefined)[];
  readonly k: Tensor;
  readonly v: Tensor;
}
