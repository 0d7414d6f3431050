using Broker.Api;
using Broker.Domain;
using Broker.Protocol.V1;
using Microsoft.AspNetCore.Http;
using Xunit;

namespace Broker.Tests.Unit.Api;

/// <summary>
/// Which calls a dedicated controller passes on, and what it may say when a data node breaks one off.
/// </summary>
public sealed class TopicCallsTests
{
    /// <summary>What a controller answers itself: what is about nodes. Everything else is about topics.</summary>
    private static readonly string[] Own =
        ["AddNode", "DescribeCluster", "ForceRecovery", "GetServerInfo", "TransferLeadership"];

    [Fact]
    public void All_calls_of_clients_but_those_about_nodes_are_passed_on()
    {
        Assert.All(BrokerReflection.Descriptor.Services[0].Methods, static each =>
            Assert.True(TopicCalls.IsOne(Request($"/{each.Service.FullName}/{each.Name}"))));
        Assert.Equal(Own, AdminReflection.Descriptor.Services.Single().Methods
            .Where(static each => !TopicCalls.IsOne(Request($"/{each.Service.FullName}/{each.Name}")))
            .Select(static each => each.Name).Order(StringComparer.Ordinal));
        Assert.All(PeerReflection.Descriptor.Services[0].Methods, static each =>
            Assert.False(TopicCalls.IsOne(Request($"/{each.Service.FullName}/{each.Name}"))));
        Assert.False(TopicCalls.IsOne(Request("/health")));
    }

    [Theory]
    [InlineData("/v1/topics/a/records", true)]
    [InlineData("/v1/subscribe", true)]
    [InlineData("/v1/groups/g:fetch", true)]
    [InlineData("/v1/cluster/nodes/3", true)]
    [InlineData("/v1/cluster/nodes/3:drain", true)]
    [InlineData("/v1/cluster/nodes", false)]
    [InlineData("/v1/cluster", false)]
    [InlineData("/v1/cluster/shards/1:transfer", false)]
    [InlineData("/v1/server", false)]
    [InlineData("/openapi/v1.json", false)]
    [InlineData("/docs", false)]
    public void By_HTTP_the_same_calls_are_passed_on(string path, bool isPassedOn) =>
        Assert.Equal(isPassedOn, TopicCalls.IsOne(Request(path)));

    [Fact]
    public void What_another_node_passes_on_to_the_leader_of_the_metadata_stays_here()
    {
        var request = Request("/broker.v1.Admin/CreateGroup");
        request.Headers[LeaderForwarder.ForwardedHeader] = "1";
        Assert.False(TopicCalls.IsOne(request));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(1_000)]
    public void The_end_of_a_message_is_found_however_it_is_cut(int step)
    {
        // A message of 300 bytes, an empty one, one of a single byte.
        byte[] body = [0, 0, 0, 1, 44, .. new byte[300], 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9];
        int[] ends = [0, 305, 310, 316];
        var frames = new GrpcFrames();
        for (var at = 0; at < body.Length; at += step)
        {
            Assert.Equal(ends.Contains(at), frames.IsBetween);
            frames.Pass(body.AsSpan(at, Math.Min(step, body.Length - at)));
        }

        Assert.True(frames.IsBetween);
    }

    [Theory]
    [InlineData("controller", NodeRoles.Controller)]
    [InlineData("data", NodeRoles.Data)]
    [InlineData("data, controller", NodeRoles.Both)]
    [InlineData("controller,data", NodeRoles.Both)]
    public void Roles_are_read_as_they_are_written(string text, NodeRoles roles)
    {
        Assert.True(NodeRolesWords.TryParse(text, out var read));
        Assert.Equal(roles, read);
        Assert.True(NodeRolesWords.TryParse(roles.InWords(), out var again));
        Assert.Equal(roles, again);
    }

    [Theory]
    [InlineData("both")]
    [InlineData("Data")]
    [InlineData("data,")]
    public void Other_words_are_no_roles(string text) => Assert.False(NodeRolesWords.TryParse(text, out _));

    private static HttpRequest Request(string path)
    {
        var http = new DefaultHttpContext();
        http.Request.Path = path;
        return http.Request;
    }
}
