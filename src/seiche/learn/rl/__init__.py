"""Reinforcement learning, written in the language: learners are nodes, experience in and actions out."""

from seiche.learn.rl.actor_critic import Feedforward as Feedforward
from seiche.learn.rl.actor_critic import Recurrent as Recurrent
from seiche.learn.rl.dqn import DQN as DQN
from seiche.learn.rl.dqn import replay as replay
from seiche.learn.rl.experience import Experience as Experience
from seiche.learn.rl.interaction import interaction as interaction
from seiche.learn.rl.network import leaky_relu as leaky_relu
from seiche.learn.rl.network import normalised_leaky_relu as normalised_leaky_relu
from seiche.learn.rl.network import streaming_mlp as streaming_mlp
from seiche.learn.rl.normalise import moments as moments
from seiche.learn.rl.normalise import normalised as normalised
from seiche.learn.rl.normalise import scaled_reward as scaled_reward
from seiche.learn.rl.obgd import ObGD as ObGD
from seiche.learn.rl.policies import Categorical as Categorical
from seiche.learn.rl.policies import Gaussian as Gaussian
from seiche.learn.rl.ppo import PPO as PPO
from seiche.learn.rl.ppo import advantage as advantage
from seiche.learn.rl.stream_ac import StreamAC as StreamAC
from seiche.learn.rl.stream_q import Decision as Decision
from seiche.learn.rl.stream_q import StreamQ as StreamQ
