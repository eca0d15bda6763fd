//! The S3 server of the path, on a thread of this process: one bucket of sounds that are made as they are asked for, and one in memory that
//! is the cluster's storage. It checks signatures, and counts requests by bucket and kind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
    UploadPartInput, UploadPartOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;

use super::bucket::{Bucket, Found, Kept};
use super::tone;

/// The keys that this server believes.
pub(super) const ACCESS_KEY: &str = "bench";
/// And their secret.
pub(super) const SECRET_KEY: &str = "of-no-worth";
/// The bucket of sounds.
pub(super) const SOUNDS: &str = "sounds";
/// The bucket that is the cluster's storage.
pub(super) const STORAGE: &str = "storage";
/// Keys in one answer to a listing: what stores give.
const PAGE: usize = 1_000;

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Head,
    List,
    Put,
    Upload,
    Delete,
}

impl Kind {
    /// Each kind.
    pub(super) const ALL: [Self; 6] = [
        Self::Get,
        Self::Head,
        Self::List,
        Self::Put,
        Self::Upload,
        Self::Delete,
    ];

    /// Its name in the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Put => "put",
            Self::Upload => "upload",
            Self::Delete => "delete",
        }
    }
}

/// Requests so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    sounds: [AtomicU64; 6],
    storage: [AtomicU64; 6],
    connections: AtomicU64,
}

impl Counts {
    fn count(&self, bucket: &str, kind: Kind) {
        let counts = match bucket {
            SOUNDS => &self.sounds,
            _ => &self.storage,
        };
        counts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests for sounds of a kind.
    pub(super) fn sounds(&self, kind: Kind) -> u64 {
        self.sounds[kind as usize].load(Ordering::Relaxed)
    }

    /// Requests to storage of a kind.
    pub(super) fn storage(&self, kind: Kind) -> u64 {
        self.storage[kind as usize].load(Ordering::Relaxed)
    }

    /// Connections that were made.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A server that lives as long as this process.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) counts: Arc<Counts>,
}

impl Server {
    /// Serves so many sounds, and an empty bucket.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(super) fn start(sounds: u32) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let buckets = Buckets {
            sounds,
            kept: Bucket::default(),
            counts: counts.clone(),
            made: Timestamp::from(SystemTime::UNIX_EPOCH),
        };
        let mut builder = S3ServiceBuilder::new(buckets);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let seen = counts.clone();
        std::thread::spawn(move || runtime.block_on(serve(listener, service, seen)));
        Ok(Self { address, counts })
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service, counts: Arc<Counts>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((socket, _)) = listener.accept().await {
        counts.connections.fetch_add(1, Ordering::Relaxed);
        // Answers are small, and whoever asks waits for them.
        let _slower_else = socket.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            let _ended = connection
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

/// Both buckets.
struct Buckets {
    sounds: u32,
    kept: Bucket,
    counts: Arc<Counts>,
    made: Timestamp,
}

/// The key of a sound.
pub(super) fn key(number: u32) -> String {
    format!("{:03}/{number:08}.wav", number / 1_000)
}

fn number(key: &str) -> Option<u32> {
    key.split_once('/')?.1.strip_suffix(".wav")?.parse().ok()
}

fn tag(number: u32) -> ETag {
    ETag::Strong(format!("sound-{number}"))
}

fn version(kept: &Kept) -> ETag {
    ETag::Strong(format!("v{}", kept.version))
}

impl Buckets {
    /// The number of a sound that is there.
    fn sound(&self, key: &str) -> S3Result<u32> {
        let found = number(key).filter(|number| *number < self.sounds && self::key(*number) == key);
        found.ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// What stands under a key: its tag, its length, and its bytes where they are kept.
    fn stands(&self, bucket: &str, key: &str) -> S3Result<Stands> {
        if bucket == SOUNDS {
            let number = self.sound(key)?;
            return Ok(Stands {
                tag: tag(number),
                length: tone::BYTES,
                bytes: Stood::Sound(number),
            });
        }
        let kept = self.kept.get(key).ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok(Stands {
            tag: version(&kept),
            length: kept.bytes.len() as u64,
            bytes: Stood::Kept(kept.bytes),
        })
    }

    fn get(&self, input: &GetObjectInput) -> S3Result<GetObjectOutput> {
        let found = self.stands(&input.bucket, &input.key)?;
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && *wanted != found.tag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let range = match &input.range {
            Some(range) => range.check(found.length)?,
            None => 0..found.length,
        };
        let bytes = match found.bytes {
            Stood::Sound(number) => tone::wav(number),
            Stood::Kept(bytes) => bytes,
        };
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        let shown = || format!("bytes {}-{}/{}", range.start, range.end - 1, found.length);
        Ok(GetObjectOutput {
            content_length: i64::try_from(bytes.len()).ok(),
            content_range: input.range.is_some().then(shown),
            body: Some(blob(bytes)),
            e_tag: Some(found.tag),
            last_modified: Some(self.made.clone()),
            ..GetObjectOutput::default()
        })
    }

    fn list(&self, input: &ListObjectsV2Input) -> ListObjectsV2Output {
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let after = input.continuation_token.as_deref();
        let after = after.or(input.start_after.as_deref());
        let wanted = input.max_keys.and_then(|most| usize::try_from(most).ok());
        let most = wanted.unwrap_or(PAGE).min(PAGE);
        let mut found = match input.bucket.as_str() {
            SOUNDS => self.sounds_after(prefix, after, most + 1),
            _ => self
                .kept
                .list(prefix, after, input.delimiter.as_deref(), most + 1),
        };
        let more = found.len() > most;
        found.truncate(most);
        let last = found.last().map(|last| last.key().to_owned());
        let count = found.len();
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        for one in found {
            match one {
                Found::Object(key, kept) => objects.push(self.listed(key, &kept)),
                Found::Folder(prefix) => folders.push(CommonPrefix {
                    prefix: Some(prefix),
                }),
            }
        }
        ListObjectsV2Output {
            next_continuation_token: last.filter(|_| more),
            is_truncated: Some(more),
            key_count: i32::try_from(count).ok(),
            contents: Some(objects),
            common_prefixes: Some(folders),
            ..ListObjectsV2Output::default()
        }
    }

    /// Sounds in the order of their keys, which is that of their numbers.
    fn sounds_after(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<Found> {
        let first = after.and_then(number).map_or(0, |number| number + 1);
        let keys = (first..self.sounds).map(|number| (number, key(number)));
        let matching = keys.filter(|(_, key)| key.starts_with(prefix)).take(most);
        let kept = |number: u32| Kept {
            bytes: Bytes::new(),
            version: number.into(),
        };
        matching
            .map(|(number, key)| Found::Object(key, kept(number)))
            .collect()
    }

    fn listed(&self, key: String, kept: &Kept) -> Object {
        let sound = number(&key).filter(|_| kept.bytes.is_empty());
        let bytes = sound.map_or(kept.bytes.len() as u64, |_| tone::BYTES);
        Object {
            size: i64::try_from(bytes).ok(),
            e_tag: Some(sound.map_or_else(|| version(kept), tag)),
            last_modified: Some(self.made.clone()),
            key: Some(key),
            ..Object::default()
        }
    }

    fn put(&self, key: String, bytes: Bytes, condition: Option<&ETagCondition>) -> S3Result<ETag> {
        let must_be_absent = matches!(condition, Some(ETagCondition::Any));
        match self.kept.put(key, bytes.clone(), must_be_absent) {
            Some(version) => Ok(self::version(&Kept { bytes, version })),
            None => Err(s3_error!(PreconditionFailed)),
        }
    }
}

/// What stands under a key.
struct Stands {
    tag: ETag,
    length: u64,
    bytes: Stood,
}

/// Where its bytes come from.
enum Stood {
    Sound(u32),
    Kept(Bytes),
}

fn blob(bytes: Bytes) -> StreamingBlob {
    StreamingBlob::wrap(stream::iter([Ok::<_, std::io::Error>(bytes)]))
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let taken = body.try_fold(Vec::new(), |mut all: Vec<u8>, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    let taken = taken.await.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(taken.into())
}

#[async_trait]
impl S3 for Buckets {
    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.counts.count(&req.input.bucket, Kind::Get);
        self.get(&req.input).map(S3Response::new)
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.counts.count(&req.input.bucket, Kind::Head);
        let found = self.stands(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(found.length).ok(),
            e_tag: Some(found.tag),
            last_modified: Some(self.made.clone()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.counts.count(&req.input.bucket, Kind::List);
        Ok(S3Response::new(self.list(&req.input)))
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.counts.count(&req.input.bucket, Kind::Put);
        let input = req.input;
        let bytes = whole(input.body).await?;
        let tag = self.put(input.key, bytes, input.if_none_match.as_ref())?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(tag),
            ..PutObjectOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.counts.count(&req.input.bucket, Kind::Upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            upload_id: Some(self.kept.begin()),
            bucket: Some(req.input.bucket),
            key: Some(req.input.key),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.counts.count(&req.input.bucket, Kind::Upload);
        let input = req.input;
        let bytes = whole(input.body).await?;
        if !self.kept.piece(&input.upload_id, input.part_number, bytes) {
            return Err(s3_error!(NoSuchUpload));
        }
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(format!("piece-{}", input.part_number))),
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.counts.count(&req.input.bucket, Kind::Upload);
        let input = req.input;
        let bytes = self.kept.end(&input.upload_id);
        let bytes = bytes.ok_or_else(|| s3_error!(NoSuchUpload))?;
        let tag = self.put(input.key, bytes, input.if_none_match.as_ref())?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            e_tag: Some(tag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.counts.count(&req.input.bucket, Kind::Upload);
        drop(self.kept.end(&req.input.upload_id));
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.counts.count(&req.input.bucket, Kind::Delete);
        self.kept.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }
}
