//! The server's certificate, signed by a key that is made once and stays in the server's folder: so
//! a server that is restarted, or runs under another name, is trusted by those that trusted it before.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate for the server.
pub(super) struct Certificate {
    /// It, in PEM.
    pub(super) certificate: String,
    /// Its key, in PEM.
    pub(super) key: String,
    /// What signed it, in PEM.
    pub(super) authority: String,
}

/// A new key to sign with, in PEM.
pub(super) fn new_key() -> Result<String, rcgen::Error> {
    Ok(KeyPair::generate()?.serialize_pem())
}

/// A certificate for `names`, signed with `key`. `authority`: the certificate of that key; without
/// one it is made.
pub(super) fn sign(
    key: &str,
    authority: Option<String>,
    names: &[String],
) -> Result<Certificate, rcgen::Error> {
    let key = KeyPair::from_pem(key)?;
    let params = authority_params()?;
    let authority = match authority {
        Some(authority) => authority,
        None => params.self_signed(&key)?.pem(),
    };
    let own_key = KeyPair::generate()?;
    let mut own = CertificateParams::new(names)?;
    own.distinguished_name
        .push(DnType::CommonName, "Regatta broker");
    let signed = own.signed_by(&own_key, &Issuer::new(params, key))?;
    Ok(Certificate {
        certificate: signed.pem(),
        key: own_key.serialize_pem(),
        authority,
    })
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(DnType::CommonName, "Regatta broker's authority");
    Ok(params)
}
