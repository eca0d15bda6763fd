//! Quotas as an operator writes them: `TENANT:WHAT=N`, where `WHAT` is `grants`, `tracks` or `jobs` and `*` stands for
//! every tenant that is not named. Read by `settings`; the core holds to them.

use std::collections::BTreeMap;

use scheduler::Quota;
use types::{Problem, TenantId};

use crate::settings::invalid;

/// The tenant that stands for all that are not named.
const OTHERS: &str = "*";

/// What tenants may have at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// Of every tenant that is not named.
    pub(crate) others: Quota,
    /// Of the tenants that are.
    pub(crate) named: BTreeMap<TenantId, Quota>,
}

/// Reads a list of `TENANT:WHAT=N`.
pub(crate) fn quotas(list: &[String]) -> Result<Quotas, Problem> {
    let mut quotas = Quotas::default();
    for text in list {
        quotas
            .add(text)
            .map_err(|cause| invalid(format!("setting `quota`: `{text}` {cause}")))?;
    }
    Ok(quotas)
}

impl Quotas {
    fn add(&mut self, text: &str) -> Result<(), String> {
        let parts = text.split_once(':').and_then(|(tenant, bound)| {
            let (what, most) = bound.split_once('=')?;
            Some((tenant, what, most))
        });
        let (tenant, what, most) =
            parts.ok_or("is not TENANT:grants=N, TENANT:tracks=N or TENANT:jobs=N")?;
        let most: u32 = most
            .parse()
            .map_err(|_| format!("has `{most}`, which is no number below 2^32"))?;
        let quota = self.of(tenant)?;
        let before = match what {
            "grants" => quota.grants_max.replace(most).is_some(),
            "tracks" => quota.tracks_max.replace(most.into()).is_some(),
            "jobs" => quota.jobs_max.replace(most).is_some(),
            _ => return Err(format!("bounds `{what}`, not `grants`, `tracks` or `jobs`")),
        };
        match before {
            true => Err("is set twice".to_owned()),
            false => Ok(()),
        }
    }

    fn of(&mut self, tenant: &str) -> Result<&mut Quota, String> {
        if tenant == OTHERS {
            return Ok(&mut self.others);
        }
        let tenant: TenantId = tenant
            .parse()
            .map_err(|error| format!("names no tenant: {error}"))?;
        Ok(self.named.entry(tenant).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[&str]) -> Result<Quotas, Problem> {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        quotas(&list)
    }

    #[test]
    fn bounds_of_one_tenant_add_up_and_a_star_is_everybody_else() {
        let read = read(&["a:grants=2", "a:tracks=70000", "*:jobs=3"]).unwrap();
        let a = Quota {
            grants_max: Some(2),
            tracks_max: Some(70_000),
            jobs_max: None,
        };
        assert_eq!(read.named, BTreeMap::from([("a".parse().unwrap(), a)]));
        assert_eq!(read.others.jobs_max, Some(3));
    }

    #[test]
    fn what_is_no_quota_is_refused_with_its_text() {
        for (list, expected) in [
            (&["a=1"][..], "is not TENANT:grants=N"),
            (&["a:grants=many"], "is no number"),
            (&["a:disks=1"], "bounds `disks`"),
            (&["a b:jobs=1"], "names no tenant"),
            (&["a:jobs=1", "a:jobs=2"], "is set twice"),
        ] {
            let problem = read(list).unwrap_err();
            assert!(problem.message.contains(expected), "{problem}");
        }
    }
}
