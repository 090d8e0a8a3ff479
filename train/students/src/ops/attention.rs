//! Causal attention over concatenated rows, which do not attend to each other. Queries are
//! processed in chunks, so that no tokens × tokens matrix ever exists.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{cpu, heads};
use crate::in_place::is_f32_on_cpu;

/// The span of a row in a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowSpan {
    pub(crate) from: usize,
    pub(crate) length: usize,
}

/// The attention of a layer.
pub(crate) struct Attention<'a> {
    /// The spans of the rows.
    pub(crate) rows: &'a [RowSpan],
    /// The number of tokens that a token attends to, itself included.
    pub(crate) window: Option<usize>,
    /// Queries per chunk.
    pub(crate) chunk: usize,
}

/// A chunk of a row's queries, and the keys that they attend to.
#[derive(Clone, Copy)]
struct Chunk {
    queries: usize,
    count: usize,
    keys: usize,
    seen: usize,
    window: usize,
}

impl Attention<'_> {
    fn chunks(&self) -> impl Iterator<Item = Chunk> + '_ {
        let window = self.window.unwrap_or(usize::MAX);
        self.rows.iter().flat_map(move |row| {
            (0..row.length).step_by(self.chunk).map(move |at| {
                let count = self.chunk.min(row.length - at);
                let first = (at + 1).saturating_sub(window);
                let seen = at + count - first;
                Chunk { queries: row.from + at, count, keys: row.from + first, seen, window }
            })
        })
    }

    /// The number of pairs of a query and a key that are compared.
    pub(crate) fn pairs(&self) -> f64 {
        self.chunks().map(|chunk| (chunk.count * chunk.seen) as f64).sum()
    }

    /// `q` is heads × tokens × head_dim; `k` and `v` have fewer heads. Returns tokens ×
    /// (heads · head_dim).
    pub(crate) fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        match [q, k, v].into_iter().all(is_f32_on_cpu) {
            true => heads::forward(self, q, k, v),
            false => self.composed(q, k, v),
        }
    }

    /// The same, composed of operations that every device has.
    fn composed(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let mut parts = Vec::new();
        for chunk in self.chunks() {
            let seen = v.narrow(1, chunk.keys, chunk.seen)?;
            let shares = chunk.shares(&chunk.grouped(q, k.dim(0)?)?, k)?;
            let part = shares.to_dtype(v.dtype())?.matmul(&seen)?;
            parts.push(chunk.flat(&part, q.dim(0)?)?);
        }
        Tensor::cat(&parts, 0)
    }

    /// Returns the gradients of `q`, `k` and `v`.
    pub(crate) fn back(
        &self,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        match [q, k, v, dy].into_iter().all(is_f32_on_cpu) {
            true => heads::back(self, (q, k, v), dy),
            false => self.composed_back((q, k, v), dy),
        }
    }

    /// The same, composed of operations that every device has.
    fn composed_back(
        &self,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (heads, _, numbers) = q.dims3()?;
        let kept = k.dim(0)?;
        let scale = 1.0 / (numbers as f64).sqrt();
        let (mut dq, dk, dv) = (Vec::new(), k.zeros_like()?, k.zeros_like()?);
        for chunk in self.chunks() {
            let queries = chunk.grouped(q, kept)?;
            let [keys, values] = [k, v].map(|tensor| tensor.narrow(1, chunk.keys, chunk.seen));
            let (keys, values) = (keys?, values?);
            let dy = dy.narrow(0, chunk.queries, chunk.count)?;
            let dy = dy.reshape((chunk.count, heads, numbers))?.transpose(0, 1)?;
            let dy = dy.reshape((kept, heads / kept * chunk.count, numbers))?;
            let shares = chunk.shares(&queries, k)?;
            let dshares = dy.matmul(&values.transpose(1, 2)?)?.to_dtype(DType::F32)?;
            let dvalues = shares.to_dtype(v.dtype())?.transpose(1, 2)?.matmul(&dy)?;
            let dscores = softmax_back(dshares, &shares, scale)?.to_dtype(q.dtype())?;
            drop(shares);
            let part = dscores.matmul(&keys)?.reshape((heads, chunk.count, numbers))?;
            dq.push(part);
            let dkeys = dscores.transpose(1, 2)?.matmul(&queries)?;
            for (all, part) in [(&dk, dkeys), (&dv, dvalues)] {
                let sum = (all.narrow(1, chunk.keys, chunk.seen)? + part)?;
                all.slice_set(&sum.contiguous()?, 1, chunk.keys)?;
            }
        }
        Ok((Tensor::cat(&dq, 1)?, dk, dv))
    }
}

impl Chunk {
    /// The chunk's queries, grouped by the key-value head that they share: key-value heads
    /// × (group · tokens) × head_dim.
    fn grouped(&self, q: &Tensor, kept: usize) -> Result<Tensor> {
        let (heads, _, numbers) = q.dims3()?;
        q.narrow(1, self.queries, self.count)?.reshape((kept, heads / kept * self.count, numbers))
    }

    /// Reshapes key-value heads × (group · tokens) × head_dim to tokens × (heads ·
    /// head_dim).
    fn flat(&self, part: &Tensor, heads: usize) -> Result<Tensor> {
        let numbers = part.dim(2)?;
        part.reshape((heads, self.count, numbers))?
            .transpose(0, 1)?
            .reshape((self.count, heads * numbers))
    }

    /// The attention weights of each query, in f32.
    fn shares(&self, queries: &Tensor, k: &Tensor) -> Result<Tensor> {
        let scale = 1.0 / (queries.dim(2)? as f64).sqrt();
        let keys = k.narrow(1, self.keys, self.seen)?;
        let scores = queries.matmul(&keys.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        if scores.device().is_cpu() {
            let op = cpu::MaskedSoftmax {
                scale: scale as f32,
                count: self.count,
                first: self.queries - self.keys,
                window: self.window,
            };
            scores.inplace_op1(&op)?;
            return Ok(scores);
        }
        self.composed(scores, scale)
    }

    /// The same, composed of operations that every device has.
    fn composed(&self, scores: Tensor, scale: f64) -> Result<Tensor> {
        let scores = (scores * scale)?;
        let sizes = scores.dims3()?;
        let by_query = scores.reshape(((), self.count, self.seen))?;
        let kept = self.mask(&by_query)?;
        let never = Tensor::new(f32::NEG_INFINITY, by_query.device())?;
        let masked = kept.where_cond(&by_query, &never.broadcast_as(by_query.shape())?)?;
        softmax_last_dim(&masked)?.reshape(sizes)
    }

    /// The mask of the keys that each query attends to, on the device of the scores.
    fn mask(&self, scores: &Tensor) -> Result<Tensor> {
        let (device, first) = (scores.device(), self.queries - self.keys);
        let queries = Tensor::arange(first as u32, (first + self.count) as u32, device)?;
        let keys = Tensor::arange(0_u32, self.seen as u32, device)?;
        let (queries, keys) = (queries.unsqueeze(1)?, keys.unsqueeze(0)?);
        let mut seen = keys.broadcast_le(&queries)?;
        if self.window < self.seen {
            let near = (keys + self.window as f64)?.broadcast_gt(&queries)?;
            seen = (seen * near)?;
        }
        seen.unsqueeze(0)?.broadcast_as(scores.shape())?.contiguous()
    }
}

/// The gradient of the scores from the gradient of their softmax; reuses its memory.
fn softmax_back(dshares: Tensor, shares: &Tensor, scale: f64) -> Result<Tensor> {
    if dshares.device().is_cpu() {
        dshares.inplace_op2(shares, &cpu::SoftmaxBack { scale: scale as f32 })?;
        return Ok(dshares);
    }
    softmax_back_composed(dshares, shares, scale)
}

fn softmax_back_composed(dshares: Tensor, shares: &Tensor, scale: f64) -> Result<Tensor> {
    let mean = (&dshares * shares)?.sum_keepdim(D::Minus1)?;
    (dshares.broadcast_sub(&mean)? * shares)? * scale
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_close, check_slope, random};
    use super::*;

    const ROWS: [RowSpan; 3] = [
        RowSpan { from: 0, length: 5 },
        RowSpan { from: 5, length: 1 },
        RowSpan { from: 6, length: 9 },
    ];

    fn attention(window: Option<usize>, chunk: usize) -> Attention<'static> {
        Attention { rows: &ROWS, window, chunk }
    }

    fn inputs() -> (Tensor, Tensor, Tensor, Tensor) {
        let q = (random(&[4, 15, 8], 1) * 2.0).unwrap();
        (q, random(&[2, 15, 8], 2), random(&[2, 15, 8], 3), random(&[15, 32], 4))
    }

    /// One whole matrix of scores, masked by the definition.
    fn plain(q: &Tensor, k: &Tensor, v: &Tensor, window: usize) -> Tensor {
        let row = |at: usize| ROWS.iter().position(|row| at < row.from + row.length).unwrap();
        let mask: Vec<f32> = (0..15 * 15)
            .map(|at| (at / 15, at % 15))
            .map(|(i, j)| match row(i) == row(j) && j <= i && i - j < window {
                true => 0.0,
                false => f32::NEG_INFINITY,
            })
            .collect();
        let mask = Tensor::from_vec(mask, (15, 15), q.device()).unwrap();
        let heads: Vec<_> = (0..4)
            .map(|head| {
                let [q, k, v] = [(q, head), (k, head / 2), (v, head / 2)]
                    .map(|(tensor, head)| tensor.get(head).unwrap());
                let scores = (q.matmul(&k.t().unwrap()).unwrap() / 8_f64.sqrt()).unwrap();
                let shares = softmax_last_dim(&(scores + &mask).unwrap()).unwrap();
                shares.matmul(&v).unwrap()
            })
            .collect();
        Tensor::cat(&heads, 1).unwrap()
    }

    #[test]
    fn chunks_rows_and_windows_are_what_one_matrix_gives() {
        let (q, k, v, dy) = inputs();
        for window in [None, Some(1), Some(3), Some(100)] {
            let expected = plain(&q, &k, &v, window.unwrap_or(usize::MAX));
            let whole = attention(window, 100).back((&q, &k, &v), &dy).unwrap();
            for chunk in [1, 2, 4, 100] {
                let attention = attention(window, chunk);
                check_close(&attention.forward(&q, &k, &v).unwrap(), &expected, 2e-6);
                let parts = attention.back((&q, &k, &v), &dy).unwrap();
                check_close(&parts.0, &whole.0, 3e-6);
                check_close(&parts.1, &whole.1, 3e-6);
                check_close(&parts.2, &whole.2, 3e-6);
                check_close(&attention.composed(&q, &k, &v).unwrap(), &expected, 2e-6);
                let composed = attention.composed_back((&q, &k, &v), &dy).unwrap();
                check_close(&composed.0, &whole.0, 3e-6);
                check_close(&composed.1, &whole.1, 3e-6);
                check_close(&composed.2, &whole.2, 3e-6);
            }
        }
    }

    #[test]
    fn what_other_devices_do_is_what_the_processor_does() {
        let (q, k, ..) = inputs();
        for window in [None, Some(1), Some(3), Some(100)] {
            for chunk in attention(window, 4).chunks() {
                let queries = chunk.grouped(&q, 2).unwrap();
                let fast = chunk.shares(&queries, &k).unwrap();
                let keys = k.narrow(1, chunk.keys, chunk.seen).unwrap();
                let scores = queries.matmul(&keys.transpose(1, 2).unwrap()).unwrap();
                let scale = 1.0 / 8_f64.sqrt();
                check_close(&chunk.composed(scores, scale).unwrap(), &fast, 1e-6);
                let slopes = random(fast.dims(), 5);
                let back = softmax_back(slopes.copy().unwrap(), &fast, scale).unwrap();
                let composed = softmax_back_composed(slopes, &fast, scale).unwrap();
                check_close(&composed, &back, 2e-6);
            }
        }
    }

    #[test]
    fn attention_runs_back() {
        let (q, k, v, dy) = inputs();
        for window in [None, Some(3)] {
            let attention = attention(window, 4);
            let f = |q: &Tensor, k: &Tensor, v: &Tensor| attention.forward(q, k, v).unwrap();
            let (dq, dk, dv) = attention.back((&q, &k, &v), &dy).unwrap();
            check_slope(&q, &dy, |q| f(q, &k, &v), &dq);
            check_slope(&k, &dy, |k| f(&q, k, &v), &dk);
            check_slope(&v, &dy, |v| f(&q, &k, v), &dv);
        }
    }
}
