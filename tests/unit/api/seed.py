"""The bodies of the project's first page, as they stand there."""

START = """{
  "roomServerId": "room-server-1",
  "roomId": "room-123",
  "peerId": "peer-456",
  "peerInfo": {
    "peerId": "peer-456",
    "displayName": "John Doe",
    "isAuthenticated": true,
    "roles": ["participant"],
    "joinTime": 1640995200000
  },
  "rtpStreams": [
    {
      "kind": "audio",
      "port": 5004,
      "payloadType": 111,
      "ssrc": 12345678,
      "codecName": "opus"
    },
    {
      "kind": "video",
      "port": 5006,
      "payloadType": 96,
      "ssrc": 87654321,
      "codecName": "h264"
    }
  ],
  "options": {
    "quality": "medium",
    "format": "mp4",
    "includeAudio": true,
    "includeVideo": true
  },
  "requesterInfo": {
    "ip": "192.168.1.100",
    "timestamp": 1640995200000
  }
}"""

ROOM_SERVER = """{
  "serverId": "room-server-1",
  "url": "http://room-server:3443",
  "region": "us-east-1",
  "capacity": 100,
  "specs": {
    "cpuCores": 8,
    "ram": 16777216000,
    "hasGPU": false,
    "diskSpace": 107374182400
  }
}"""

FFMPEG_NODE = """{
  "url": "http://ffmpeg-node:3000",
  "region": "us-east-1",
  "specs": {
    "cpuCores": 4,
    "ram": 8388608000
  }
}"""
