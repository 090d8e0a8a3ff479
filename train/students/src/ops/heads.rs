//! Attention on a CPU. Each thread takes one head of a row, a few queries at a time, so that
//! scores stay in the thread's cache and nothing is copied into another order.

use candle_core::{Result, Tensor, bail};
use gemm::Parallelism;
use rayon::prelude::*;

use super::attention::{Attention, RowSpan};
use super::cpu::{masked_softmax, softmax_back};
use crate::in_place::{Shape, View, multiply, with_elements};

/// Queries whose scores are computed together: those of 1,000 keys are 512 kB.
const QUERIES: usize = 128;

/// The sizes of a micro-batch's queries, keys and values.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    /// Heads of queries for each head of keys and values.
    group: usize,
    tokens: usize,
    head_dim: usize,
}

/// The queries, keys and values of one head of a row.
struct RowHead<'a> {
    attention: &'a Attention<'a>,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    head_dim: usize,
}

/// The gradients of one head of a row.
struct Gradients<'a> {
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
}

impl Sizes {
    fn of(attention: &Attention<'_>, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Sizes> {
        let ((heads, tokens, head_dim), (kept, ..)) = (q.dims3()?, k.dims3()?);
        let other = (kept, tokens, head_dim);
        let mut end = 0;
        let consecutive = attention.rows.iter().all(|row| {
            let follows = row.from == end;
            end += row.length;
            follows
        });
        let is_grouped = kept > 0 && heads.is_multiple_of(kept);
        if !is_grouped
            || k.dims3()? != other
            || v.dims3()? != other
            || !consecutive
            || end != tokens
        {
            bail!("attention over rows of {end} tokens needs heads of as many");
        }
        Ok(Sizes { heads, group: heads / kept, tokens, head_dim })
    }

    /// Elements of a head.
    fn head(self) -> usize {
        self.tokens * self.head_dim
    }

    /// The elements of a row in a head.
    fn row<'a>(self, all: &'a [f32], head: usize, row: &RowSpan) -> &'a [f32] {
        let from = head * self.head() + row.from * self.head_dim;
        &all[from..from + row.length * self.head_dim]
    }

    /// A head of a row of `all`, which has all heads of a token after each other.
    fn of_tokens<'a>(self, all: &'a [f32], head: usize, row: &RowSpan) -> &'a [f32] {
        all.get((row.from * self.heads + head) * self.head_dim..).unwrap_or_default()
    }

    /// The parts of `all` that belong to each row of each head.
    fn parts<'a>(self, all: &'a mut [f32], rows: &[RowSpan]) -> Vec<&'a mut [f32]> {
        let (mut rest, mut parts) = (all, Vec::with_capacity(self.heads * rows.len()));
        for row in (0..self.heads).flat_map(|_| rows) {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(row.length * self.head_dim);
            parts.push(part);
            rest = after;
        }
        parts
    }
}

/// What the composed version computes: tokens × (heads · head_dim).
pub(super) fn forward(
    attention: &Attention<'_>,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Result<Tensor> {
    let sizes = Sizes::of(attention, q, k, v)?;
    let Sizes { heads, tokens, head_dim, .. } = sizes;
    let made = with_elements([q, k, v], |[q, k, v]| {
        let mut made = vec![0.0_f32; tokens * heads * head_dim];
        // Rows may be many or one, so threads share the queries and not the rows.
        let (mut rest, mut tasks) = (&mut made[..], Vec::new());
        for (row, first, count) in attention.rows.iter().flat_map(|row| chunks(attention, row)) {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(count * heads * head_dim);
            tasks.push((row, first, count, part));
            rest = after;
        }
        tasks.into_par_iter().with_max_len(1).try_for_each(|(row, first, count, made)| {
            let mut scores = Vec::new();
            for head in 0..heads {
                let kept = head / sizes.group;
                let one = RowHead {
                    attention,
                    q: sizes.row(q, head, row),
                    k: sizes.row(k, kept, row),
                    v: sizes.row(v, kept, row),
                    head_dim,
                };
                let made = &mut made[head * head_dim..];
                one.forward(first, count, &mut scores, (made, heads * head_dim))?;
            }
            Ok::<_, candle_core::Error>(())
        })?;
        Ok(made)
    })?;
    Tensor::from_vec(made, (tokens, heads * head_dim), q.device())
}

/// The parts of a row, each with its first query and the number of queries.
fn chunks<'a>(
    attention: &Attention<'_>,
    row: &'a RowSpan,
) -> impl Iterator<Item = (&'a RowSpan, usize, usize)> + use<'a> {
    let most = attention.chunk.clamp(1, QUERIES);
    let starts = (0..row.length).step_by(most);
    starts.map(move |first| (row, first, most.min(row.length - first)))
}

/// The gradients of `q`, `k` and `v`, as the composed version computes them.
pub(super) fn back(
    attention: &Attention<'_>,
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    dy: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let sizes = Sizes::of(attention, q, k, v)?;
    let Sizes { heads, tokens, head_dim, group } = sizes;
    if dy.dims2()? != (tokens, heads * head_dim) {
        bail!("the gradient of attention has the shape of its output");
    }
    let [dq, dk, dv] = with_elements([q, k, v, dy], |[q, k, v, dy]| {
        let mut made = [(); 3].map(|()| vec![0.0_f32; heads * sizes.head()]);
        let [dq, dk, dv] = made.each_mut().map(|made| sizes.parts(made, attention.rows));
        let places = (0..heads).flat_map(|head| attention.rows.iter().map(move |row| (head, row)));
        let gradients = dq.into_iter().zip(dk).zip(dv).map(|((q, k), v)| Gradients { q, k, v });
        let tasks: Vec<_> = places.zip(gradients).collect();
        tasks.into_par_iter().with_max_len(1).try_for_each(|((head, row), gradients)| {
            let kept = head / group;
            let one = RowHead {
                attention,
                q: sizes.row(q, head, row),
                k: sizes.row(k, kept, row),
                v: sizes.row(v, kept, row),
                head_dim,
            };
            one.back(row, (sizes.of_tokens(dy, head, row), heads * head_dim), gradients)
        })?;
        Ok(made)
    })?;
    let (head, kept) = (sizes.head(), heads / group);
    let tensor =
        |made: Vec<f32>, heads| Tensor::from_vec(made, (heads, tokens, head_dim), q.device());
    let [dk, dv] = [dk, dv].map(|all| grouped(all, head, group));
    Ok((tensor(dq, heads)?, tensor(dk, kept)?, tensor(dv, kept)?))
}

/// Sums the heads that share keys and values.
fn grouped(mut all: Vec<f32>, head: usize, group: usize) -> Vec<f32> {
    if group == 1 || all.is_empty() {
        return all;
    }
    let sums = all.par_chunks_mut(head * group).map(|heads| {
        let (sum, others) = heads.split_at_mut(head);
        for other in others.chunks(head) {
            for (sum, other) in sum.iter_mut().zip(other) {
                *sum += other;
            }
        }
        &*sum
    });
    sums.collect::<Vec<_>>().concat()
}

impl RowHead<'_> {
    /// The first key of queries from `first`, the number of keys up to the last query, and
    /// the keys and values.
    fn seen(&self, first: usize, count: usize) -> (usize, usize, View<'_>, View<'_>) {
        let window = self.attention.window.unwrap_or(usize::MAX);
        let from = (first + 1).saturating_sub(window);
        let seen = first + count - from;
        let view = |all| View::rows(self.of(all, from, seen), seen, self.head_dim, self.head_dim);
        (from, seen, view(self.k), view(self.v))
    }

    /// The elements of `count` tokens.
    fn of<'a>(&self, all: &'a [f32], first: usize, count: usize) -> &'a [f32] {
        &all[first * self.head_dim..(first + count) * self.head_dim]
    }

    fn queries(&self, first: usize, count: usize) -> View<'_> {
        View::rows(self.of(self.q, first, count), count, self.head_dim, self.head_dim)
    }

    fn scale(&self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }

    /// Writes the attention weights of these queries into `shares`, queries × keys.
    fn shares(&self, first: usize, count: usize, shares: &mut Vec<f32>) -> Result<()> {
        let (from, seen, keys, _) = self.seen(first, count);
        shares.resize(count * seen, 0.0);
        let to = (&mut shares[..], Shape::rows(count, seen, seen));
        multiply(to, false, 1.0, self.queries(first, count), keys.t(), Parallelism::None)?;
        let window = self.attention.window.unwrap_or(usize::MAX);
        for (at, scores) in shares.chunks_mut(seen).enumerate() {
            masked_softmax(scores, first - from + at, window, self.scale());
        }
        Ok(())
    }

    /// Writes the output for these queries into rows that are `stride` apart.
    fn forward(
        &self,
        first: usize,
        count: usize,
        scores: &mut Vec<f32>,
        (made, stride): (&mut [f32], usize),
    ) -> Result<()> {
        self.shares(first, count, scores)?;
        let (_, seen, _, values) = self.seen(first, count);
        let shares = View::rows(&scores[..], count, seen, seen);
        let to = (made, Shape::rows(count, self.head_dim, stride));
        multiply(to, false, 1.0, shares, values, Parallelism::None)
    }

    /// Writes the gradients. Those of the output are in rows that are `stride` apart.
    fn back(
        &self,
        row: &RowSpan,
        (dy, stride): (&[f32], usize),
        made: Gradients<'_>,
    ) -> Result<()> {
        let (mut shares, mut slopes) = (Vec::new(), Vec::new());
        let width = self.head_dim;
        for (_, first, count) in chunks(self.attention, row) {
            let (from, seen, keys, values) = self.seen(first, count);
            let (scores, of_keys) =
                (Shape::rows(count, seen, seen), Shape::rows(seen, width, width));
            let part = from * width..(from + seen) * width;
            self.shares(first, count, &mut shares)?;
            let dy = View::rows(&dy[first * stride..], count, width, stride);
            slopes.resize(count * seen, 0.0);
            multiply((&mut slopes[..], scores), false, 1.0, dy, values.t(), Parallelism::None)?;
            let view = View { elements: &shares, shape: scores };
            let dv = (&mut made.v[part.clone()], of_keys);
            multiply(dv, true, 1.0, view.t(), dy, Parallelism::None)?;
            for (slopes, shares) in slopes.chunks_mut(seen).zip(shares.chunks(seen)) {
                softmax_back(slopes, shares, self.scale());
            }
            let view = View { elements: &slopes, shape: scores };
            let dq = &mut made.q[first * width..(first + count) * width];
            let dq = (dq, Shape::rows(count, width, width));
            multiply(dq, false, 1.0, view, keys, Parallelism::None)?;
            let (dk, queries) = ((&mut made.k[part], of_keys), self.queries(first, count));
            multiply(dk, true, 1.0, view.t(), queries, Parallelism::None)?;
        }
        Ok(())
    }
}
