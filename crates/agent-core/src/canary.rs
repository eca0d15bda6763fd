//! Canaries: asked for where parts wait for one or a suspect waits for a proven device, and believed.

use types::{Code, Millis, Stage};

use crate::action::{Action, Actions};
use crate::core::Core;
use crate::device::{Song, Worker};
use crate::mutants::{self, Mutant};
use crate::part::{Part, State};
use crate::{DeviceNo, PartNo};

impl Core {
    /// Asks for a canary where parts wait for one, or a suspect waits for a proven device: of one stage after the other.
    pub(crate) fn sing(&mut self, actions: &mut Actions) {
        for number in self.numbers() {
            let Some(stage) = self.stage_to_prove(number) else {
                continue;
            };
            let of_stage = |part: &PartNo| self.parts.get(part).map(Part::stage) == Some(stage);
            let mut parts: Vec<PartNo> = self.unsung(number);
            parts.retain(of_stage);
            let nonce = self.nonces;
            let Some(device) = self.device(number) else {
                continue;
            };
            if device.song.is_none() && device.loaded().is_some() {
                device.song = Some(Song {
                    nonce,
                    stage,
                    parts,
                });
                self.nonces += 1;
                actions.push(Action::Sing {
                    device: number,
                    stage,
                    nonce,
                });
            }
        }
    }

    /// The stage of the first part that waits for a canary, or else of a suspect that waits for a proven device.
    fn stage_to_prove(&self, number: DeviceNo) -> Option<Stage> {
        let first = self.unsung(number).into_iter().next();
        let part = first.and_then(|part| self.parts.get(&part));
        part.map(Part::stage).or_else(|| self.needs_proof(number))
    }

    pub(crate) fn unsung(&self, number: DeviceNo) -> Vec<PartNo> {
        let waits = |part: &Part| part.device == Some(number) && part.state == State::Unsung;
        self.parts
            .iter()
            .filter(|(_, part)| waits(part))
            .map(|(number, _)| *number)
            .collect()
    }

    fn needs_proof(&self, number: DeviceNo) -> Option<Stage> {
        let device = self.devices.get(number.0 as usize)?;
        let bundle = device.loaded().filter(|_| device.in_hand.is_empty())?;
        let of_worker = self.first_queued(number, bundle, true).map(|(key, _)| key);
        let of_machine = self.suspect_on(number).map(|(_, (key, _))| key);
        let mut stages = [of_worker, of_machine].into_iter().flatten();
        stages
            .find(|key| !device.proven.contains(&key.stage()))
            .map(|key| key.stage())
    }

    pub(crate) fn canary_sung(
        &mut self,
        now: Millis,
        number: DeviceNo,
        nonce: u64,
        good: bool,
        actions: &mut Actions,
    ) {
        let Some(device) = self.device(number) else {
            return;
        };
        let Some(song) = device.song.take_if(|song| song.nonce == nonce) else {
            return;
        };
        let good = good || mutants::on(Mutant::CanaryIgnored);
        if good {
            device.proven.insert(song.stage);
            for part in song.parts {
                if let Some(part) = self.parts.get_mut(&part) {
                    part.state = State::ToWrite { at: now };
                }
            }
            return;
        }
        let lost = device.lose_worker();
        device.worker = Worker::Out(Code::CanaryFailed);
        for (key, ordinal) in lost {
            self.again(&key, ordinal);
        }
        self.taken_out(number, Code::CanaryFailed, actions);
    }
}
