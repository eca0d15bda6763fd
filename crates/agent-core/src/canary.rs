//! Canaries: asked for where parts wait for one or a suspect waits for a proven device, and believed.

use types::{Code, Millis};

use crate::action::{Action, Actions};
use crate::core::Core;
use crate::device::{Song, Worker};
use crate::mutants::{self, Mutant};
use crate::part::{Part, State};
use crate::{DeviceNo, PartNo};

impl Core {
    /// Asks for a canary where parts wait for one, or a suspect waits for a proven device.
    pub(crate) fn sing(&mut self, actions: &mut Actions) {
        for number in self.numbers() {
            let parts: Vec<PartNo> = self.unsung(number);
            let wanted = !parts.is_empty() || self.needs_proof(number);
            let nonce = self.nonces;
            let Some(device) = self.device(number) else {
                continue;
            };
            if wanted && device.song.is_none() && device.loaded().is_some() {
                device.song = Some(Song { nonce, parts });
                self.nonces += 1;
                actions.push(Action::Sing {
                    device: number,
                    nonce,
                });
            }
        }
    }

    pub(crate) fn unsung(&self, number: DeviceNo) -> Vec<PartNo> {
        let waits = |part: &Part| part.device == Some(number) && part.state == State::Unsung;
        self.parts
            .iter()
            .filter(|(_, part)| waits(part))
            .map(|(number, _)| *number)
            .collect()
    }

    fn needs_proof(&self, number: DeviceNo) -> bool {
        let Some(device) = self.devices.get(number.0 as usize) else {
            return false;
        };
        let Some(bundle) = device.loaded() else {
            return false;
        };
        !device.proven
            && device.in_hand.is_empty()
            && (self.first_queued(number, bundle, true).is_some()
                || self.suspect_on(number).is_some())
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
        device.proven = good;
        if good {
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
