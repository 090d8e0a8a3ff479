//! The tools for other programs: a server of the Model Context Protocol.
//!
//! The server is in this crate because it shows this crate's tools as they are: their names,
//! descriptions and schemas. Everything else reaches it through the traits of
//! `fixfly-runtime`: the sandbox, and a benchmark for each way to run tests. A wrong call is a
//! result that says so (`isError`); only a request that the protocol does not have is an
//! error of the protocol.

mod recorded;
mod server;
mod workspace;

use std::path::PathBuf;
use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::transport::io::stdio_pipes;

pub use workspace::Workspace;

use server::Server;

/// How long a running call may delay the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server could not go on.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// The client did not open a session.
    #[error("no session of the Model Context Protocol was opened: {0}; start fixfly from a client")]
    Session(String),
    /// The server's task failed.
    #[error("the server failed: {0}")]
    Server(String),
    /// The sandbox could not be closed.
    #[error(transparent)]
    Sandbox(#[from] fixfly_runtime::SandboxError),
}

/// Serves the tools of `workspace`, and the runs in the folder `runs`, on standard input and
/// output until the client ends the session or `stop` is ready.
///
/// # Errors
/// [`McpError`] if there is no session, or something remains of the sandbox.
pub async fn serve(
    workspace: Workspace,
    runs: Option<PathBuf>,
    stop: impl Future<Output = ()>,
) -> Result<(), McpError> {
    let server = Server::new(workspace, runs);
    let ended = tokio::select! {
        ended = session(server.clone()) => ended,
        () = stop => Ok(()),
    };
    // Dropping the sandbox closes it too, if a call still has it.
    if let Ok(Some(workspace)) = tokio::time::timeout(PATIENCE, server.take()).await {
        workspace.sandbox.close().await?;
    }
    ended
}

async fn session(server: Server) -> Result<(), McpError> {
    let running =
        server.serve(stdio_pipes()).await.map_err(|e| McpError::Session(e.to_string()))?;
    running.waiting().await.map_err(|e| McpError::Server(e.to_string()))?;
    Ok(())
}
