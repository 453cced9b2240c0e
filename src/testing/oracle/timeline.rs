//! The states after each frame of a workload, computed once and shared.

use std::sync::Arc;

use crate::Schema;
use crate::testing::model::Model;
use crate::testing::workload::Operation;

/// The states that a workload leads through, for [oracles](super::Oracle) of runs of it. Immutable.
#[derive(Debug)]
pub struct Timeline {
    frames: Arc<Vec<Arc<Operation>>>,
    /// The state after as many frames as its index.
    models: Vec<Model>,
}

impl Timeline {
    /// The states of a new database after each frame among `operations`.
    pub fn new(schema: &Schema, operations: &[Operation]) -> Arc<Self> {
        let frames = operations
            .iter()
            .filter(|operation| operation.is_frame() && !operation.must_be_refused());
        let frames = frames.map(|frame| Arc::new(frame.as_recorded().into_owned()));
        let frames: Arc<Vec<_>> = Arc::new(frames.collect());
        let mut model = Model::new(schema);
        model.expect(Arc::clone(&frames));
        let mut models = vec![model.clone()];
        for frame in frames.iter() {
            model.apply_frame(frame);
            model.compute();
            models.push(model.clone());
        }
        Arc::new(Self { frames, models })
    }

    pub(super) fn start(&self) -> &Model {
        &self.models[0]
    }

    pub(super) fn frame(&self, index: usize) -> Option<&Arc<Operation>> {
        self.frames.get(index)
    }

    /// The state of the longest beginning of `order` that is a beginning of this workload.
    pub(super) fn follow(&self, order: &[Arc<Operation>]) -> &Model {
        let same = |(a, b): &(&Arc<Operation>, &Arc<Operation>)| Arc::ptr_eq(a, b);
        let len = self.frames.iter().zip(order).take_while(same).count();
        &self.models[len]
    }
}
