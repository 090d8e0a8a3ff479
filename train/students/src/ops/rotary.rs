//! Heads: their order in a tensor, and the rotation of queries and keys. On a CPU, both are
//! one pass.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::in_place::{is_f32_on_cpu, wide, with_elements};

/// Rotates each pair of a head's elements by its token's angle. `x` is heads × tokens ×
/// head_dim, and the elements of a pair are half a head apart.
pub(crate) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    candle_nn::rotary_emb::rope(&x.unsqueeze(0)?, cos, sin)?.squeeze(0)
}

/// Reshapes tokens × (heads · head_dim) to heads × tokens × head_dim.
pub(crate) fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (tokens, all) = x.dims2()?;
    if is_f32_on_cpu(x) && x.elem_count() > 0 {
        return moved(x, (heads, tokens, all / heads), None, Order::Heads);
    }
    x.reshape((tokens, heads, all / heads))?.transpose(0, 1)?.contiguous()
}

/// The inverse of [`split`].
pub(crate) fn join(x: &Tensor) -> Result<Tensor> {
    let (heads, tokens, head_dim) = x.dims3()?;
    if is_f32_on_cpu(x) && x.elem_count() > 0 {
        return moved(x, (heads, tokens, head_dim), None, Order::Tokens);
    }
    x.transpose(0, 1)?.reshape((tokens, heads * head_dim))
}

/// [`split`], then [`rotate`].
pub(crate) fn split_rotated(
    x: &Tensor,
    heads: usize,
    cos: &Tensor,
    sin: &Tensor,
) -> Result<Tensor> {
    let (tokens, all) = x.dims2()?;
    if is_f32_on_cpu(x) && x.elem_count() > 0 {
        return moved(x, (heads, tokens, all / heads), Some((cos, sin)), Order::Heads);
    }
    rotate(&split(x, heads)?, cos, sin)
}

/// [`rotate`], then [`join`].
pub(crate) fn rotated_join(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    if is_f32_on_cpu(x) && x.elem_count() > 0 {
        return moved(x, x.dims3()?, Some((cos, sin)), Order::Tokens);
    }
    join(&rotate(x, cos, sin)?)
}

/// What comes first in a tensor.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Heads,
    Tokens,
}

/// Changes the order of a CPU's f32 tensor to this one, and rotates.
fn moved(
    x: &Tensor,
    (heads, tokens, head_dim): (usize, usize, usize),
    angles: Option<(&Tensor, &Tensor)>,
    order: Order,
) -> Result<Tensor> {
    let (cos, sin) = angles.unwrap_or((x, x));
    let half = head_dim / 2;
    let made = with_elements([x, cos, sin], |[x, cos, sin]| {
        let mut made = vec![0.0_f32; x.len()];
        let one = |(at, made): (usize, &mut [f32])| {
            let (head, token) = match order {
                Order::Heads => (at / tokens, at % tokens),
                Order::Tokens => (at % heads, at / heads),
            };
            let from = match order {
                Order::Heads => token * heads + head,
                Order::Tokens => head * tokens + token,
            };
            let x = &x[from * head_dim..(from + 1) * head_dim];
            match angles {
                None => made.copy_from_slice(x),
                Some(_) => {
                    let angles = token * half..(token + 1) * half;
                    wide(|| turned(made, x, &cos[angles.clone()], &sin[angles]));
                }
            }
        };
        made.par_chunks_mut(head_dim).with_min_len(64).enumerate().for_each(one);
        Ok(made)
    })?;
    match order {
        Order::Heads => Tensor::from_vec(made, (heads, tokens, head_dim), x.device()),
        Order::Tokens => Tensor::from_vec(made, (tokens, heads * head_dim), x.device()),
    }
}

#[inline(always)]
fn turned(made: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let ((first, second), (x, y)) = (made.split_at_mut(half), x.split_at(half));
    let made = first.iter_mut().zip(second);
    for (((first, second), (x, y)), (cos, sin)) in
        made.zip(x.iter().zip(y)).zip(cos.iter().zip(sin))
    {
        *first = x * cos - y * sin;
        *second = x * sin + y * cos;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_slope, random};
    use super::*;

    #[test]
    fn a_rotation_runs_back() {
        let angles = random(&[7, 4], 7);
        let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
        let (x, dy) = (random(&[2, 7, 8], 8), random(&[2, 7, 8], 9));
        let dx = rotate(&dy, &cos, &sin.neg().unwrap()).unwrap();
        check_slope(&x, &dy, |x| rotate(x, &cos, &sin).unwrap(), &dx);
    }

    #[test]
    fn one_pass_is_what_several_give() {
        for (heads, tokens, head_dim) in [(1, 1, 2), (2, 7, 8), (3, 300, 64)] {
            let angles = random(&[tokens, head_dim / 2], 1);
            let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
            let x = random(&[tokens, heads * head_dim], 2);
            let plain = x.reshape((tokens, heads, head_dim)).unwrap();
            let plain = plain.transpose(0, 1).unwrap().contiguous().unwrap();
            let same = |one: &Tensor, other: &Tensor| {
                assert_eq!(one.dims(), other.dims());
                let all = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(all(one), all(other), "{heads} x {tokens} x {head_dim}");
            };
            same(&split(&x, heads).unwrap(), &plain);
            same(&join(&plain).unwrap(), &x);
            let turned = rotate(&plain, &cos, &sin).unwrap();
            same(&split_rotated(&x, heads, &cos, &sin).unwrap(), &turned);
            let back = rotate(&plain, &cos, &sin.neg().unwrap()).unwrap();
            let back = back.transpose(0, 1).unwrap().reshape(x.dims()).unwrap();
            same(&rotated_join(&plain, &cos, &sin.neg().unwrap()).unwrap(), &back);
        }
    }
}
