//! An S3 server of this process's own on a free port: `s3s-fs` on a folder, with keys. Used by the suites of this crate and by the
//! example `s3_server`; nothing that ships knows it.

use std::net::SocketAddr;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The keys of every server here.
pub(crate) const ACCESS_KEY: &str = "test-key";
/// And their secret, which tests look for in what is logged and shown.
pub(crate) const SECRET_KEY: &str = "test-secret-hunter2";

/// A server on a thread of its own; it ends with this value.
pub(crate) struct S3Server {
    pub(crate) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl S3Server {
    /// Serves the folders in `root` as buckets.
    pub(crate) fn start(root: &Path, listen: &str) -> std::io::Result<Self> {
        let service = service(root)?;
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, service) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self {
            address,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Waits until the server ends, which only a signal brings about.
    #[allow(dead_code, reason = "the example waits, the suites do not")]
    pub(crate) fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn service(root: &Path) -> std::io::Result<S3Service> {
    let files =
        FileSystem::new(root).map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    Ok(builder.build())
}

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            let _ended = connection
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}
