"""All configuration: read from the environment once, here only, checked, frozen, and passed whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from edumeet_recording.regional_settings import (
    ANY_REGION,
    RegionScaling,
    StoragePlace,
    named_regions,
    scaling_of,
    spill_of,
    storage_places_of,
)

Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]
Days = Annotated[float, Field(gt=0, le=36500)]
PortNumber = Annotated[int, Field(ge=0, le=65535)]


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, env_file=".env", env_ignore_empty=True, extra="ignore")


class CommonSettings(_Settings):
    """What every process reads."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )
    log_format: Literal["console", "json"] = Field("console", description="`json` for log collectors.")
    state_dir: Path = Field(
        Path(".state"),
        description="Folder for what must outlive a restart: embedded PostgreSQL, spool, journal, default storage.",
    )
    storage_url: str = Field(
        "",
        description="Storage of tapes and files: file:///path, s3://bucket/prefix, gs://…, az://…; else a folder.",
    )
    storage_endpoint: str = Field("", description="Endpoint of an S3-compatible server; empty for AWS.")
    storage_region: str = Field("us-east-1", description="Region of the bucket.")
    storage_access_key: SecretStr = Field(
        SecretStr(""), description="Access key id; empty: the provider's own credential chain."
    )
    storage_secret_key: SecretStr = Field(SecretStr(""), description="Secret access key.")
    storage_allow_http: bool = Field(False, description="Allow an http:// storage endpoint.")
    storage_home: str = Field(
        "",
        description="Region STORAGE_URL is in; without it nothing of a tenant that is confined to regions goes there.",
    )
    storages: SecretStr = Field(
        SecretStr(""),
        description="Storages of other regions, as JSON: "
        '{"eu-1": "s3://bucket", "us-1": {"url": …, "endpoint": …, "region": …, "accessKey": …, "secretKey": …}}; '
        "what is left out is as for STORAGE_URL. Orchestrators and nodes need the same.",
    )
    ffmpeg_bin: str = Field(
        "", description="FFmpeg to transcode with; empty: the one that is installed with this package."
    )

    @property
    def storage_location(self) -> str:
        """URL of the storage with the default filled in."""
        return self.storage_url or (self.state_dir.absolute() / "storage").as_uri()

    @property
    def storage_places(self) -> dict[str, StoragePlace]:
        """The storages of other regions, by region."""
        return storage_places_of(self.storages.get_secret_value())

    @property
    def storage_regions(self) -> dict[str, str]:
        """The region of each storage by its name; the default one's name is empty, and so may be its region."""
        return {"": self.storage_home, **{region: region for region in self.storage_places}}

    def of_storage(self, region: str) -> Self:
        """These settings with the storage of `region` as their own."""
        place = self.storage_places[region]
        given = place.model_dump(exclude={"url", "region"}, exclude_none=True)
        changes: dict[str, object] = {f"storage_{name}": value for name, value in given.items()}
        changes["storage_url"] = place.url
        if place.region is not None:
            changes["storage_region"] = place.region
        return self.model_copy(update=changes)

    @field_validator("storages")
    @classmethod
    def _places(cls, value: SecretStr) -> SecretStr:
        storage_places_of(value.get_secret_value())
        return value


class OrchestratorSettings(CommonSettings):
    """What the orchestrator reads."""

    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: PortNumber = Field(8080, description="Port of the API.")
    public_url: str = Field(
        "", description="URL under which clients reach the API, where it differs from HOST and PORT."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://user:password@host/database; empty: an embedded PostgreSQL under STATE_DIR.",
    )
    database_pool_size: int = Field(10, ge=2, le=200, description="Connections of one replica.")
    jwt_secret: SecretStr = Field(
        SecretStr(""), description="HS256 secret of at least 32 characters; or set JWT_PUBLIC_KEY or JWT_JWKS_URL."
    )
    jwt_public_key: str = Field("", description="PEM public key for RS256, ES256 or EdDSA tokens.")
    jwt_jwks_url: str = Field("", description="JWKS document with the keys of RS256, ES256 or EdDSA tokens.")
    jwt_audience: str = Field("", description="Required `aud` of tokens; empty: not checked.")
    jwt_issuer: str = Field("", description="Required `iss` of tokens; empty: not checked.")
    registration_secret: SecretStr = Field(
        SecretStr(""),
        description="Secret that nodes and room servers must present to register; empty: anyone may (with a warning).",
    )
    node_url_allow: str = Field(
        "",
        description=(
            "Comma-separated hosts, *.suffixes or CIDRs that node and room server URLs may point at; "
            "empty: all but link-local and metadata addresses."
        ),
    )
    max_body_bytes: int = Field(262144, ge=1024, le=16777216, description="Largest request body of the API.")
    heartbeat_timeout_s: Seconds = Field(
        3,
        description="A node without heartbeat for this long is unhealthy; after two thirds of it, but not before two "
        "seconds, it is asked, and gets nothing new.",
    )
    room_server_timeout_s: Seconds = Field(
        30, description="A room server that has sent heartbeats and stops for this long is unhealthy."
    )
    room_server_grace_s: Seconds = Field(
        120, description="A recording whose room server is lost waits this long for it, then is finalized as it is."
    )
    room_server_request_timeout_s: Seconds = Field(5, description="Time a room server has to answer one request.")
    room_server_srtp: Literal[
        "none", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"
    ] = Field("none", description="Suite of the SRTP that room servers are asked to send.")
    placement_strategy: Literal["least-loaded", "bin-pack", "round-robin", "weighted"] = Field(
        "least-loaded",
        description="How a node is chosen among those that can take a recording: least-loaded spreads, bin-pack fills "
        "one after the other, round-robin takes turns, weighted draws by free capacity (for many replicas).",
    )
    quarantine_failures: int = Field(
        3, ge=1, le=100, description="Failures within QUARANTINE_WINDOW_S after which a node gets no new recordings."
    )
    quarantine_window_s: Seconds = Field(600, description="For how long a node's failures are counted.")
    quarantine_back_off_s: Seconds = Field(
        60, description="How long a failing node is put aside first; twice as long each time after."
    )
    region_spill: str = Field(
        "",
        description="Where recordings of a region go when it is full or lost, as JSON with costs: "
        '{"eu-1": {"eu-2": 1, "us-1": 5}}; the cheapest first, no other. A region that is not named spills anywhere.',
    )
    queue_limit: int = Field(1000, ge=0, description="Jobs that may wait for capacity; more are refused with 503.")
    queue_deadline_s: Seconds = Field(600, description="A job that waited this long for a node fails.")
    prepare_timeout_s: Seconds = Field(5, description="Time a node has to open its ports before another is tried.")
    no_media_timeout_s: Seconds = Field(60, description="A recording that never gets a packet ends after this.")
    media_ended_timeout_s: Seconds = Field(
        3600, description="A recording whose streams have all been silent for this long is finalized."
    )
    max_duration_s: Seconds = Field(43200, description="Longest recording unless options.maxDuration says less.")
    drain_deadline_s: Seconds = Field(
        3600,
        description="Time a node has to ship its tape after stop, and then time to make the file, "
        "while the storage may be away.",
    )
    interrupted_deadline_s: Seconds = Field(
        300, description="Time an interrupted recording waits for another node before it is finalized as it is."
    )
    processing_lease_s: Seconds = Field(
        30, description="A finalization without a sign of life for this long is given to another node."
    )
    processing_attempts: int = Field(
        3, ge=1, le=20, description="Attempts at finalizing before a job fails (its tape is kept)."
    )
    tape_retention_s: float = Field(86400, ge=0, description="Tapes of completed recordings are deleted after this.")
    orphan_retention_s: float = Field(
        0,
        ge=0,
        description="Stored objects of recordings that this database does not know are deleted once all of one's are "
        "this old; 0: they are only told of, as where several databases share a storage.",
    )
    metrics_interval_s: Seconds = Field(15, description="Interval of rows in system_metrics.")
    metrics_raw_days: Days = Field(1, description="All rows of system_metrics are kept for this many days.")
    metrics_five_minutes_days: Days = Field(
        30, description="Until they are this many days old, one row in five minutes is kept, the busiest."
    )
    metrics_hourly_days: Days = Field(
        730,
        description="Then one in an hour; what is older goes, and with it events of scaling and of nodes, and alerts "
        "that are over.",
    )
    alert_urls: SecretStr = Field(
        SecretStr(""),
        description="Who is told of alerts: Apprise URLs (mailtos://…, slack://…, json://…), separated by blanks.",
    )
    autoscale_provider: Literal["advisory", "process", "docker", "kubernetes"] = Field(
        "advisory",
        description="Who runs the nodes that autoscaling asks for: processes of this machine, containers, pods; "
        "advisory: somebody else, it only recommends.",
    )
    autoscale_policy: str = Field(
        "",
        description='How each region is scaled, as a JSON object: {"*": {"maxNodes": 20}, "eu-1": {"minNodes": 2}}; '
        "docs/operate.md has the fields.",
    )
    autoscale_orchestrator_url: str = Field(
        "", description="URL at which nodes that autoscaling starts reach the orchestrator; empty: the API's own."
    )
    autoscale_node_settings: dict[str, str] = Field(
        {},
        description="Settings of nodes that autoscaling starts, as a JSON object, beside id, region, storage and "
        'registration secret; no secrets: {"MEDIA_BIND_IP": "0.0.0.0"}.',
    )
    autoscale_node_image: str = Field("edumeet-recording", description="Image of nodes in Docker and Kubernetes.")
    autoscale_node_cpus: float = Field(2, gt=0, le=1024, description="Cores of a node in Docker and Kubernetes.")
    autoscale_node_memory_mb: int = Field(
        2048, ge=256, description="Memory of a node in Docker and Kubernetes, in MiB."
    )
    autoscale_stop_grace_s: Seconds = Field(
        60, description="Time between SIGTERM and SIGKILL when autoscaling gives a node back."
    )
    autoscale_fleet: str = Field(
        "edumeet-recording",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Label of the containers and pods that are this orchestrator's; another service needs another.",
    )
    docker_url: str = Field(
        "unix:///var/run/docker.sock", description="Docker's API, or Podman's, for AUTOSCALE_PROVIDER=docker."
    )
    docker_binds: tuple[str, ...] = Field(
        (),
        description="Folders of that machine which the containers see, as a JSON list of /there:/here[:ro]; "
        "for a storage that is a folder.",
    )
    kubeconfig: str = Field(
        "", description="File with the way to Kubernetes; empty: the service account of the pod we run in."
    )
    kubernetes_namespace: str = Field("edumeet-recording", description="Namespace of the nodes' pods.")
    kubernetes_node_secret: str = Field(
        "edumeet-recording-node",
        description="Secret in that namespace whose keys become the nodes' settings: REGISTRATION_SECRET, STORAGE_….",
    )
    kubernetes_region_label: str = Field(
        "topology.kubernetes.io/region",
        description="Label of Kubernetes' nodes that has the region; empty: a pod may run on any.",
    )

    @property
    def spill(self) -> dict[str, dict[str, float]]:
        """Which regions may take over another's recordings, and what that costs."""
        return spill_of(self.region_spill)

    @field_validator("region_spill")
    @classmethod
    def _spills(cls, value: str) -> str:
        spill_of(value)
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters (RFC 7518 §3.2)")
        return value

    @field_validator("autoscale_policy")
    @classmethod
    def _usable_policy(cls, value: str) -> str:
        for region in {ANY_REGION, *named_regions(value)}:
            scaling_of(value, region)
        return value

    def scaling_of(self, region: str) -> RegionScaling:
        """How a region is scaled: what the policy says of it, then of all regions, then the defaults."""
        return scaling_of(self.autoscale_policy, region)

    @model_validator(mode="after")
    def _history_thins_with_age(self) -> Self:
        if not self.metrics_raw_days <= self.metrics_five_minutes_days <= self.metrics_hourly_days:
            raise ValueError("METRICS_RAW_DAYS, METRICS_FIVE_MINUTES_DAYS and METRICS_HOURLY_DAYS must not fall")
        return self

    @property
    def scaled_regions(self) -> frozenset[str]:
        """Regions that the policy names."""
        return named_regions(self.autoscale_policy) - {ANY_REGION}

    @property
    def base_url(self) -> str:
        """URL of the API as clients see it."""
        return self.public_url or f"http://{self.host}:{self.port}"


class NodeSettings(CommonSettings):
    """What an FFmpeg node reads."""

    orchestrator_url: str = Field(
        "http://127.0.0.1:8080", description="URL of the orchestrator (any replica, or the balancer before them)."
    )
    node_id: str = Field("", description="Id of this node; empty: made once and kept under STATE_DIR.")
    node_host: str = Field("127.0.0.1", description="Address the node's own /health and /metrics listen on.")
    node_port: PortNumber = Field(0, description="Port of /health and /metrics; 0: any free one.")
    node_url: str = Field(
        "", description="URL under which the orchestrator reaches /health; empty: from NODE_HOST and the port."
    )
    node_region: str = Field("default", description="Region the node is in.")
    node_failure_domain: str = Field(
        "",
        description="What the node dies together with, such as zone=eu-1a,rack=r7,host=h1, or a host's name alone: "
        "standby captures go to another one; empty: this machine.",
    )
    registration_secret: SecretStr = Field(
        SecretStr(""), description="The orchestrator's registration secret, where it has one."
    )
    media_bind_ip: str = Field("127.0.0.1", description="Address RTP is received on; 0.0.0.0 for all.")
    media_ip: str = Field(
        "",
        description=(
            "Address room servers send RTP to; "
            "empty: MEDIA_BIND_IP, or with 0.0.0.0 the address of the route to the orchestrator."
        ),
    )
    rtp_port_min: PortNumber = Field(40000, description="First UDP port for RTP; open this range to the room servers.")
    rtp_port_max: PortNumber = Field(49999, description="Last UDP port for RTP.")
    node_cpus: float = Field(
        0,
        ge=0,
        le=4096,
        description="Cores that are this node's, where others use the machine too; "
        "0: all that affinity and its container's or service's quota leave it.",
    )
    capture_processes: int = Field(0, ge=0, le=256, description="Processes that write tape; 0: one a core.")
    chunk_seconds: Seconds = Field(
        2, description="Longest chunk of tape: what a machine that is lost for good has not shipped."
    )
    disk_warn_percent: float = Field(80, gt=0, le=100, description="Use of the spool's disk that is warned of.")
    disk_refuse_percent: float = Field(
        90, gt=0, le=100, description="Use of the spool's disk from which on the node takes no new recordings."
    )
    leave_deadline_s: Seconds = Field(
        50, description="After SIGTERM: time for recordings to move to other nodes and for files to be finished."
    )
    capture_alone_s: Seconds = Field(
        600, description="Time capture processes go on without their node, for it to be restarted; then they end."
    )
    processing_slots: int = Field(1, ge=0, le=256, description="Finalizations at a time; 0: this node only captures.")
    hw_encoder: Literal["auto", "none", "vaapi", "nvenc"] = Field(
        "auto",
        description="What encodes H.264: a GPU (auto: the one that is found), none for the processor alone. "
        "Where it fails the processor does it.",
    )
    vaapi_device: str = Field("/dev/dri/renderD128", description="The GPU's render node, for VAAPI.")
    receive_buffer_bytes: int = Field(
        4194304, ge=65536, description="Socket buffer asked for; the kernel caps it at net.core.rmem_max."
    )

    @model_validator(mode="after")
    def _ports_in_order(self) -> "NodeSettings":
        if self.rtp_port_max - self.rtp_port_min < 4:
            raise ValueError("RTP_PORT_MAX must be at least 4 above RTP_PORT_MIN")
        return self


class ClientSettings(_Settings):
    """What commands that speak to a running service read."""

    model_config = SettingsConfigDict(env_prefix="EDUMEET_RECORDING_")

    url: str = Field(
        "http://127.0.0.1:8080", description="URL of the service that commands such as `recordings list` speak to."
    )
    token: SecretStr = Field(SecretStr(""), description="Token they present; `edumeet-recording token` issues one.")


def environment_of_child(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment for a process that shall have `settings` (by variable) and otherwise the defaults."""
    kinds = (OrchestratorSettings, NodeSettings, ClientSettings)
    names = {f"{kind.model_config.get('env_prefix', '')}{name}".upper() for kind in kinds for name in kind.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in names} | dict(settings)


def origins(kind: type[BaseSettings]) -> dict[str, Literal["environment", ".env", "default"]]:
    """Where the value of each field comes from."""
    environment, file = EnvSettingsSource(kind)(), DotEnvSettingsSource(kind)()
    return {
        name: "environment" if name in environment else ".env" if name in file else "default"
        for name in kind.model_fields
    }
