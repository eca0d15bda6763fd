//! Calls as bytes: what was recorded is sent as it was, and what comes back is not read by this version's types.

use std::net::SocketAddr;

use proto::v1;
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use prost::bytes::{Buf, BufMut};

/// Messages as they are on the wire.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A client that knows no message.
pub(crate) struct Raw(Channel);

impl Raw {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self(endpoint.connect().await.unwrap())
    }

    /// A client of this version's types on the same connection.
    pub(crate) fn agents(&self) -> v1::agents_client::AgentsClient<Channel> {
        v1::agents_client::AgentsClient::new(self.0.clone())
    }

    /// Sends a request and gives every answer.
    pub(crate) async fn call(&self, method: &str, request: &[u8]) -> Result<Vec<Bytes>, Status> {
        let mut client = Grpc::new(self.0.clone());
        client.ready().await.unwrap();
        let path: PathAndQuery = method.parse().unwrap();
        let request = Request::new(Bytes::copy_from_slice(request));
        let answer = client.server_streaming(request, path, Plain).await?;
        let mut answers = answer.into_inner();
        let mut found = Vec::new();
        while let Some(answer) = answers.next().await {
            found.push(answer?);
        }
        Ok(found)
    }
}
