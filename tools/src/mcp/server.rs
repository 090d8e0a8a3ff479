//! What the protocol asks of a server: the list of tools, and calls.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use fixfly_runtime::{ToolError, ToolSpec, printable};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::sync::Mutex;

use super::recorded::{self, Recorded};
use super::workspace::{Reply, Workspace};

const INSTRUCTIONS: &str = "\
These tools work on a copy of a repository in a sandbox without network. The user's own files \
do not change: `submit` returns the change as a unified diff, which the user can apply with \
`git apply`. `run_tests` reports which tests were fixed and broken since they last ran.";

/// One session.
#[derive(Clone)]
pub(super) struct Server {
    specs: Arc<Vec<ToolSpec>>,
    /// Calls wait for each other, as actions on one work tree do. `None` after the end.
    workspace: Arc<Mutex<Option<Workspace>>>,
    recorded: Option<Arc<Recorded>>,
}

impl Server {
    pub(super) fn new(workspace: Workspace, runs: Option<PathBuf>) -> Server {
        let mut specs = workspace.specs();
        if runs.is_some() {
            specs.extend(recorded::specs());
        }
        let recorded = runs.map(|folder| Arc::new(Recorded { folder }));
        Server {
            specs: Arc::new(specs),
            workspace: Arc::new(Mutex::new(Some(workspace))),
            recorded,
        }
    }

    /// Takes the workspace, after which no call has one.
    pub(super) async fn take(&self) -> Option<Workspace> {
        self.workspace.lock().await.take()
    }

    async fn call(&self, name: &str, args: Value) -> Result<Reply, ToolError> {
        if let Some(recorded) = self.recorded.clone().filter(|_| recorded::TOOLS.contains(&name)) {
            let name = name.to_string();
            let read = tokio::task::spawn_blocking(move || recorded.call(&name, args)).await;
            return read
                .unwrap_or_else(|e| Err(ToolError::Refused(format!("reading failed: {e}"))));
        }
        match self.workspace.lock().await.as_mut() {
            Some(workspace) => workspace.call(name, args).await,
            None => Err(ToolError::Refused("the session is over".into())),
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let own = Implementation::new("fixfly", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(own)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.specs.iter().cloned().map(|ToolSpec { name, description, parameters }| {
            let schema = match parameters {
                Value::Object(schema) => schema,
                _ => serde_json::Map::new(),
            };
            Tool::new(name, description, Arc::new(schema))
        });
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let CallToolRequestParams { name, arguments, .. } = request;
        if !self.specs.iter().any(|spec| spec.name == name) {
            let why = format!("there is no tool `{}`", printable(&name));
            return Err(ErrorData::invalid_params(Cow::Owned(why), None));
        }
        let args = Value::Object(arguments.unwrap_or_default());
        let result = match self.call(&name, args).await {
            Ok(Reply { text, structured }) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = structured;
                result
            }
            Err(error) => {
                let why = printable(&error.to_string()).into_owned();
                CallToolResult::error(vec![ContentBlock::text(why)])
            }
        };
        Ok(result.into())
    }
}
